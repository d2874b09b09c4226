package nftables

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"knockkit/internal/kernel/backend"
	"knockkit/protocol"
)

// signedReading is a reading of profile admin, with who has opened its leases.
func signedReading(t *testing.T, more string, who ...element) *reading {
	t.Helper()
	r := &reading{table: newTable(), about: &about{input: input{versions: versions{"4-admin": 1}, signedNumbers: map[string]uint16{"admin": 1}}}}
	r.about.profiles = []*protocol.Profile{profile(t, "admin", "signed = { carrier = \"icmp\" }\nopen = [\"2222/tcp\"]\n"+more)}
	hour := element{Address: netip.MustParseAddr("192.0.2.1"), Timeout: time.Hour, Expires: 50 * time.Minute}
	for name, set := range map[string]*kernelObject{
		"open4-admin":  {elements: []element{hour}},
		"given4-admin": {elements: []element{hour}},
		"who4":         {who: who},
	} {
		set.name, set.kind, set.is = name, setKind, parseSetName(name)
		r.table.sets[name] = set
	}
	for n, words := range map[number]string{1<<16 | 1: "admin alice a1", 1<<16 | 2: "admin bob b1", 1<<16 | 3: "admin alice a2"} {
		r.table.keys[n], _ = parseKeyComment(words)
	}
	return r
}

// by is a knock of a key for 192.0.2.1, with the time left.
func by(key uint16, left time.Duration) element {
	return element{Address: netip.MustParseAddr("192.0.2.1"), Number: keyNumber(1, key), Timeout: time.Hour, Expires: left}
}

// TestAChangeEndsAUsersPartOfALease, and the lease with its last part. The one given by hand stays.
func TestAChangeEndsAUsersPartOfALease(t *testing.T) {
	alice, bob, both := by(1, 50*time.Minute), by(2, 20*time.Minute), []element{by(1, 50*time.Minute), by(2, 20*time.Minute)}
	endless := func(e element) element { e.Timeout, e.Expires = 0, 0; return e }
	of := func(users ...backend.User) backend.Source {
		return backend.Source{Profile: "admin", State: backend.Open, Address: prefix("192.0.2.1"), Users: users}
	}
	outOf := func(set, element string) string {
		return "add element inet knockd " + set + " { " + element + " }\ndelete element inet knockd " + set + " { " + element + " }\n"
	}
	for _, c := range []struct {
		name, more string
		who        []element
		end        backend.Source
		want       string
	}{
		{"the only user", "", []element{alice}, of(backend.User{Name: "alice"}), outOf("open4-admin", "192.0.2.1") + outOf("who4", "192.0.2.1 . 1:1")},
		{"the user who has longest", "", both, of(backend.User{Name: "alice"}),
			outOf("open4-admin", "192.0.2.1") + outOf("who4", "192.0.2.1 . 1:1") + "add element inet knockd open4-admin { 192.0.2.1 timeout 1h expires 20m }\n"},
		{"another user", "", both, of(backend.User{Name: "bob"}), outOf("who4", "192.0.2.1 . 1:2")},
		{"all users", "", both, of(backend.User{Name: "bob"}, backend.User{Name: "alice"}), outOf("open4-admin", "192.0.2.1") + outOf("who4", "192.0.2.1 . 1:1, 192.0.2.1 . 1:2")},
		{"all keys of a user", "", []element{alice, by(3, time.Minute)}, of(backend.User{Name: "alice"}), outOf("open4-admin", "192.0.2.1") + outOf("who4", "192.0.2.1 . 1:1, 192.0.2.1 . 1:3")},
		{"one key of a user", "", []element{alice, by(3, time.Minute)}, of(backend.User{Name: "alice", Key: "a2"}), outOf("who4", "192.0.2.1 . 1:3")},
		{"a user who has none", "", both, of(backend.User{Name: "carol"}), ""},
		{"one who has none of this holder", "", both, backend.Source{Profile: "admin", State: backend.Open, Address: prefix("192.0.2.2"), Users: []backend.User{{Name: "bob"}}}, ""},
		{"wherever a user has some", "", both, backend.Source{Profile: "admin", State: backend.Open, Users: []backend.User{{Name: "bob"}}}, outOf("who4", "192.0.2.1 . 1:2")},
		{"with renew", "renew = true", []element{endless(alice), endless(bob)}, of(backend.User{Name: "alice"}), outOf("who4", "192.0.2.1 . 1:1")},
		{"the last user of a lease for one connection", "once = true", both, of(backend.User{Name: "alice"}), outOf("open4-admin", "192.0.2.1") + outOf("who4", "192.0.2.1 . 1:1, 192.0.2.1 . 1:2")},
		{"another of a lease for one connection", "once = true", both, of(backend.User{Name: "bob"}), outOf("who4", "192.0.2.1 . 1:2")},
		{"the whole lease", "", both, of(), outOf("given4-admin", "192.0.2.1") + outOf("open4-admin", "192.0.2.1") + outOf("who4", "192.0.2.1 . 1:1, 192.0.2.1 . 1:2")},
	} {
		p, err := signedReading(t, c.more, c.who...).Change(nil, []backend.Source{c.end})
		got := ""
		for _, text := range p.Texts() {
			got += text.Text
		}
		if diff := cmp.Diff(c.want, got); diff != "" || err != nil {
			t.Errorf("%s: %v\n%s", c.name, err, diff)
		}
	}
}

// TestALeaseIsOfWhoeverTheKernelKnows: not of a number that nobody has, or that was another profile's.
func TestALeaseIsOfWhoeverTheKernelKnows(t *testing.T) {
	unknown, before := by(9, time.Hour), by(1, time.Hour)
	before.Number = keyNumber(2, 1)
	r := signedReading(t, "", by(2, 40*time.Minute), unknown, before, by(1, 30*time.Minute))
	r.table.keys[before.Number] = backend.LoadedKey{Profile: "admin", User: "carol", ID: "c1"}
	delete(r.table.sets, "given4-admin")
	want := []backend.User{{Name: "bob", Key: "b1", Left: 40 * time.Minute}, {Name: "alice", Key: "a1", Left: 30 * time.Minute}}
	if s := r.sources(); len(s) != 1 || cmp.Diff(want, s[0].Users) != "" {
		t.Errorf("sources %+v", s)
	}
	p, err := r.Forget(r)
	if texts := p.Texts(); err != nil || len(texts) != 1 || texts[0].Text != "add element inet knockd who4 { 192.0.2.1 . 1:9 }\ndelete element inet knockd who4 { 192.0.2.1 . 1:9 }\n"+
		"add element inet knockd who4 { 192.0.2.1 . 2:1 }\ndelete element inet knockd who4 { 192.0.2.1 . 2:1 }\n" {
		t.Errorf("%v: %+v", err, texts)
	}
	if p, _ := r.Forget(signedReading(t, "")); len(p.Texts()) > 0 {
		t.Error("what a reading before had not is forgotten")
	}
}
