package server

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"knockkit/internal/kernel/backend"
	"knockkit/protocol"
)

// slots says which slots are loaded for which users, and how long they last.
func slots(all []backend.SlotOf) map[int64]string {
	said := map[int64]string{}
	for _, s := range all {
		for _, k := range s.Keys {
			said[s.Slot] += k.User + " "
		}
		said[s.Slot] += s.Left.String()
	}
	return said
}

// TestEachTokenComesIntoAKernelOnce: 10 s into slot 100, in which the tokens of 99, 100 and 101 are valid,
// 20, 50 and 80 s more.
func TestEachTokenComesIntoAKernelOnce(t *testing.T) {
	now := protocol.SlotStart(100).Add(10 * time.Second)
	alice := protocol.Key{Profile: "admin", User: "alice", Secret: [protocol.KeySize]byte{1}}
	bob := protocol.Key{Profile: "admin", User: "bob", Secret: [protocol.KeySize]byte{2}}
	dave := protocol.Key{Profile: "admin", User: "dave", Secret: alice.Secret}
	has := func(k protocol.Key, number uint32) backend.LoadedKey {
		l := loadedKey(k)
		l.Number = number
		return l
	}
	profiles := map[string]uint16{"admin": 1}
	with := func(slot, first int64, keys ...backend.LoadedKey) backend.Tokens {
		return backend.Tokens{Profiles: profiles, Known: true, Slot: slot, First: first, Keys: keys}
	}
	for _, c := range []struct {
		name  string
		is    backend.Tokens
		r     KeyRefresh
		load  map[int64]string
		slot  int64
		opens int64 // slot; 0: now
		why   ShutReason
	}{
		{"a first start", backend.Tokens{Profiles: profiles}, KeyRefresh{Keys: []protocol.Key{alice}}, map[int64]string{}, 101, 102, ShutUnknown},
		{"a first key", backend.Tokens{Profiles: profiles}, KeyRefresh{Keys: []protocol.Key{alice}, Fresh: []string{alice.ID()}},
			map[int64]string{99: "alice 20s", 100: "alice 50s", 101: "alice 1m20s"}, 101, 102, ShutUnknown},
		{"the next slot", with(100, 50, has(alice, 1<<16|1)), KeyRefresh{Keys: []protocol.Key{alice}}, map[int64]string{101: "alice 1m20s"}, 101, 0, ""},
		{"after a stop of two slots", with(98, 50, has(alice, 1<<16|1)), KeyRefresh{Keys: []protocol.Key{alice}},
			map[int64]string{99: "alice 20s", 100: "alice 50s", 101: "alice 1m20s"}, 101, 0, ""},
		{"after a long stop", with(7, 5, has(alice, 1<<16|1)), KeyRefresh{Keys: []protocol.Key{alice}},
			map[int64]string{99: "alice 20s", 100: "alice 50s", 101: "alice 1m20s"}, 101, 0, ""},
		{"a key that the kernel does not know", with(101, 50, has(alice, 1<<16|1)), KeyRefresh{Keys: []protocol.Key{alice, bob}},
			map[int64]string{99: "bob 20s", 100: "bob 50s", 101: "bob 1m20s"}, 101, 0, ""},
		{"… whose tokens another kernel may have had until slot 100", with(101, 100, has(alice, 1<<16|1)), KeyRefresh{Keys: []protocol.Key{alice, bob}},
			map[int64]string{100: "bob 50s", 101: "bob 1m20s"}, 101, 0, ""},
		{"a key that another user had", with(101, 50, has(alice, 1<<16|1)), KeyRefresh{Keys: []protocol.Key{dave}}, map[int64]string{}, 101, 0, ""},
		{"a key of another profile of that name, before", with(101, 50, has(alice, 2<<16|1)), KeyRefresh{Keys: []protocol.Key{alice}}, map[int64]string{}, 101, 0, ""},
		{"a record on disk of the next slot", backend.Tokens{Profiles: profiles}, KeyRefresh{Keys: []protocol.Key{alice}, Highest: 102}, map[int64]string{}, 102, 103, ShutClock},
		{"the clock one slot back", with(102, 50, has(alice, 1<<16|1)), KeyRefresh{Keys: []protocol.Key{alice}}, nil, 102, 0, ""},
		{"the clock ten minutes back", with(121, 50, has(alice, 1<<16|1)), KeyRefresh{Keys: []protocol.Key{alice}}, nil, 121, 122, ShutClock},
		{"the clock back, and a key that was made now", with(121, 50), KeyRefresh{Keys: []protocol.Key{bob}, Fresh: []string{bob.ID()}},
			map[int64]string{99: "bob 20s", 100: "bob 50s", 101: "bob 1m20s"}, 121, 122, ShutClock},
		{"the clock back, and a key that is not new", with(121, 50), KeyRefresh{Keys: []protocol.Key{bob}}, map[int64]string{}, 121, 122, ShutClock},
		{"a jump of the clock", with(101, 50, has(alice, 1<<16|1)), KeyRefresh{Keys: []protocol.Key{alice}, Clear: true}, map[int64]string{}, 101, 102, ShutUnknown},
		{"nothing new", with(101, 50, has(alice, 1<<16|1)), KeyRefresh{Keys: []protocol.Key{alice}}, nil, 101, 0, ""},
	} {
		c.r.Now = now
		change, st := planTokens(c.is, c.r)
		var load map[int64]string
		if change != nil {
			load = slots(change.Load)
			if change.Slot != c.slot {
				t.Errorf("%s: the record says slot %d, not %d", c.name, change.Slot, c.slot)
			}
		}
		if diff := cmp.Diff(c.load, load); diff != "" {
			t.Errorf("%s: loaded (-want +got):\n%s", c.name, diff)
		}
		opens := time.Time{}
		if c.opens != 0 {
			opens = protocol.SlotStart(c.opens)
		}
		if !st.Opens.Equal(opens) || st.Why != c.why || st.Slot != c.slot {
			t.Errorf("%s: slot %d, opens %s (%s), want slot %d, %s (%s)", c.name, st.Slot, st.Opens, st.Why, c.slot, opens, c.why)
		}
	}
}

func TestAFormerKeyIsForgottenWhenNoTokenOfItsNumberIsLeft(t *testing.T) {
	former := backend.LoadedKey{Profile: "admin", User: "bob", ID: "1f2e3d4c", Number: 1<<16 | 2, Former: true, Dropped: 101}
	for _, c := range []struct {
		slot   int64
		leases int
		want   int
	}{{102, 0, 0}, {103, 0, 0}, {104, 0, 1}, {104, 1, 0}} {
		former.Leases = c.leases
		is := backend.Tokens{Profiles: map[string]uint16{"admin": 1}, Known: true, Slot: c.slot + 1, First: 1, Keys: []backend.LoadedKey{former}}
		change, _ := planTokens(is, KeyRefresh{Now: protocol.SlotStart(c.slot)})
		got := 0
		if change != nil {
			got = len(change.Forget)
		}
		if got != c.want {
			t.Errorf("in slot %d, with %d leases, %d keys are forgotten, not %d", c.slot, c.leases, got, c.want)
		}
	}
}

func TestNoTokenOutlivesItsKey(t *testing.T) {
	alice := protocol.Key{Profile: "admin", User: "alice", Secret: [protocol.KeySize]byte{1}}
	bob := protocol.Key{Profile: "admin", User: "bob", Secret: [protocol.KeySize]byte{2}}
	is := backend.Tokens{Profiles: map[string]uint16{"admin": 1}, Known: true, Slot: 101, First: 50}
	now := protocol.SlotStart(100).Add(10 * time.Second)
	load := func(r KeyRefresh) map[int64]string {
		r.Keys = []protocol.Key{alice, bob}
		change, _ := planTokens(is, r)
		said := map[int64]string{}
		for _, s := range change.Load {
			for _, k := range s.Keys {
				said[s.Slot] += k.User + " " + s.Left.String() + " "
			}
		}
		return said
	}
	got := load(KeyRefresh{Now: now, Ends: func(k protocol.Key) (end time.Time) {
		if k == alice {
			end = now.Add(30 * time.Second)
		}
		return end
	}})
	want := map[int64]string{99: "alice 20s bob 20s ", 100: "alice 30s bob 50s ", 101: "alice 30s bob 1m20s "}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("a key that ends in 30 s (-want +got):\n%s", diff)
	}
	for what, r := range map[string]KeyRefresh{
		"the key has ended":     {Now: now, Ends: func(protocol.Key) time.Time { return now }},
		"a slot ends in 0.4 ms": {Now: protocol.SlotStart(101).Add(-400 * time.Microsecond)},
	} {
		r.Keys = []protocol.Key{alice}
		change, _ := planTokens(is, r)
		for _, s := range change.Load {
			if s.Left <= 0 {
				t.Errorf("%s: tokens of slot %d have no end", what, s.Slot)
			}
		}
	}
}
