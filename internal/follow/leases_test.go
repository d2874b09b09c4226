package follow

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"knockkit/internal/kernel/backend"
	"knockkit/protocol"
)

func mysql() *protocol.Profile {
	return &protocol.Profile{Name: "mysql", Lease: time.Hour, PrefixIPv4: 24, PrefixIPv6: 128, Sequence: make([]protocol.Step, 3)}
}

func open(address string, left time.Duration) backend.Source {
	return backend.Source{Profile: "mysql", Address: netip.MustParsePrefix(address), State: backend.Open, Step: 3, Steps: 3, Left: left}
}

func addr(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 1}) }

func holder(text string) Key { return Key{"mysql", netip.MustParsePrefix(text)} }

func expect[T any](t *testing.T, got, want []T) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Prefix{}), cmpopts.SortSlices(func(x, y Ended) bool { return x.Holder.String() < y.Holder.String() })); diff != "" {
		t.Error(diff)
	}
}

func TestAGrantCountsForWhatItCoversAndUntilItsEnd(t *testing.T) {
	l, profiles := New(10), []*protocol.Profile{mysql()}
	l.Grant(0, mysql(), netip.MustParseAddr("10.9.0.7"), backend.User{})
	expect(t, l.Lost(10*time.Minute, nil, profiles), []backend.Source{open("10.9.0.0/24", 50*time.Minute)}) // the profile's prefix; ten minutes are gone
	expect(t, l.Lost(time.Hour, nil, profiles), nil)
	if lost := l.Lost(0, nil, nil); len(lost) > 0 {
		t.Errorf("a lease of a profile that is not wanted: %+v", lost)
	}
}

func TestOnlyWhatTheKernelHasNoMoreIsLost(t *testing.T) {
	l, profiles := New(10), []*protocol.Profile{mysql()}
	l.Sync(0, 0, []backend.Source{open("10.9.1.0/24", time.Hour), open("10.9.2.0/24", time.Minute), {State: backend.Banned}})
	expect(t, l.Lost(0, []backend.Source{open("10.9.1.0/24", time.Hour)}, profiles), []backend.Source{open("10.9.2.0/24", time.Minute)})
	expect(t, l.Running(time.Minute, profiles), []backend.Source{open("10.9.1.0/24", 59*time.Minute)})
}

func TestALeaseWithoutEndIsLostWithoutEndAndNeverDue(t *testing.T) {
	l := New(10)
	forever := open("10.9.1.0/24", 0)
	forever.Unlimited = true
	l.Sync(0, 0, []backend.Source{forever})
	const long = 1000 * time.Hour
	expect(t, l.Lost(long, nil, []*protocol.Profile{mysql()}), []backend.Source{forever})
	if expect(t, l.Expire(long), nil); l.Due(long) {
		t.Error("it should be over")
	}
	endless := mysql()
	endless.Lease = 0
	l.Grant(0, endless, netip.MustParseAddr("10.9.2.1"), backend.User{})
	if l.Due(long) {
		t.Error("one from a knock should be over")
	}
}

func TestOfTwoLeasesOfAHolderTheLongerCounts(t *testing.T) {
	l, profiles := New(10), []*protocol.Profile{mysql()}
	short, long := open("10.9.1.0/24", time.Minute), open("10.9.1.0/24", 2*time.Hour)
	l.Sync(0, 0, []backend.Source{long, short})
	l.Grant(0, mysql(), netip.MustParseAddr("10.9.1.1"), backend.User{})
	expect(t, l.Running(0, profiles), []backend.Source{long})
	l.Sync(1, 1, []backend.Source{short}) // the one by hand was taken away
	expect(t, l.Running(1, profiles), []backend.Source{short})
}

func TestALookTellsWhatIsOverInTimeAndEarlyAndNothingOfWhatBeganAfterIt(t *testing.T) {
	l := New(10)
	l.Sync(0, 0, []backend.Source{open("10.9.1.0/24", time.Minute), open("10.9.2.0/24", time.Hour), open("10.9.3.0/24", time.Minute)})
	l.Grant(2*time.Minute, mysql(), netip.MustParseAddr("10.9.4.1"), backend.User{})
	expect(t, l.Sync(3*time.Minute, 2*time.Minute, []backend.Source{open("10.9.3.0/24", time.Hour)}),
		[]Ended{{Key: holder("10.9.1.0/24"), InTime: true}, {Key: holder("10.9.2.0/24")}})
	if l.Len() != 2 {
		t.Errorf("%d leases are followed, not the renewed one and the new one", l.Len())
	}
	expect(t, l.Sync(3*time.Minute, 3*time.Minute, nil), []Ended{{Key: holder("10.9.3.0/24")}, {Key: holder("10.9.4.0/24")}})
}

func TestWithoutALookALeaseIsDueAndLaterOver(t *testing.T) {
	l := New(10)
	l.Grant(0, mysql(), netip.MustParseAddr("10.9.1.1"), backend.User{})
	for _, c := range []struct {
		at   time.Duration
		due  bool
		over []Ended
	}{{time.Hour, false, nil}, {time.Hour + time.Second, true, nil}, {time.Hour + patient + 1, true, []Ended{{Key: holder("10.9.1.0/24"), InTime: true}}}, {2 * time.Hour, false, nil}} {
		if l.Due(c.at) != c.due {
			t.Errorf("after %s a look is due: %v", c.at, !c.due)
		}
		expect(t, l.Expire(c.at), c.over)
	}
}

func TestALeaseIsNoneOfAnotherVersionThatOpensMore(t *testing.T) {
	l := New(10)
	was, will := mysql(), mysql()
	will.Open = []protocol.PortRange{{Proto: protocol.TCP, First: 22, Last: 22}}
	l.Grant(0, was, netip.MustParseAddr("10.9.1.1"), backend.User{})
	if l.KeepLeases([]*protocol.Profile{was}, []*protocol.Profile{mysql()}); l.Len() != 1 {
		t.Error("it is none of the same version")
	}
	if l.KeepLeases([]*protocol.Profile{was}, []*protocol.Profile{will}); l.Len() != 0 {
		t.Error("it is one of a version that opens a port more")
	}
}

func TestAFloodOfLeasesIsForgotten(t *testing.T) {
	const limit = 100
	l := New(limit)
	var shown []backend.Source
	for i := range 3 * limit {
		l.Grant(0, mysql(), addr(i), backend.User{})
		shown = append(shown, open(netip.PrefixFrom(addr(1000+i), 24).Masked().String(), time.Hour))
	}
	if l.Len() != limit {
		t.Errorf("%d leases are followed", l.Len())
	}
	if l.Sync(1, 1, shown); l.Len() != limit {
		t.Errorf("%d leases are followed after a look", l.Len())
	}
}

func TestASourceIsCoveredByAnyPrefixThatContainsIt(t *testing.T) {
	l := New(10)
	for _, text := range []string{"10.9.1.1/32", "10.8.0.0/13", "2001:db8:9::/48", "2001:db8::1/128"} {
		l.Give(0, holder(text), time.Hour)
	}
	for text, want := range map[string]bool{
		"10.9.1.1": true, "10.15.255.255": true, "10.16.0.0": false,
		"2001:db8:9:7::1": true, "2001:db8::1": true, "2001:db8::2": false,
	} {
		if got := l.Covers("mysql", netip.MustParseAddr(text)); got != want {
			t.Errorf("%s is covered: %v", text, got)
		}
		if l.Covers("web", netip.MustParseAddr(text)) {
			t.Errorf("%s has a lease of another profile", text)
		}
	}
	l.Give(0, holder("0.0.0.0/0"), time.Hour)
	if !l.Covers("mysql", netip.MustParseAddr("10.16.0.0")) {
		t.Error("a lease of everybody does not cover somebody")
	}
}

// TestALeaseIsLostWithItsUsers: each with the time that it has left, and without those who have none.
func TestALeaseIsLostWithItsUsers(t *testing.T) {
	l, profiles := New(10), []*protocol.Profile{mysql()}
	lease, byHand := open("10.9.1.0/24", time.Hour), open("10.9.1.0/24", 2*time.Hour)
	lease.Users = []backend.User{{Name: "alice", Key: "1", Left: time.Hour}, {Name: "bob", Key: "2", Left: 20 * time.Minute}, {Name: "carol", Key: "3", Unlimited: true}}
	l.Sync(0, 0, []backend.Source{lease, byHand})
	l.Grant(0, mysql(), netip.MustParseAddr("10.9.1.7"), backend.User{})
	want := open("10.9.1.0/24", 90*time.Minute)
	want.Users = []backend.User{{Name: "alice", Key: "1", Left: 30 * time.Minute}, {Name: "carol", Key: "3", Unlimited: true}}
	expect(t, l.Lost(30*time.Minute, nil, profiles), []backend.Source{want})
	l.Sync(0, 0, []backend.Source{byHand}) // the users were revoked
	expect(t, l.Running(0, profiles), []backend.Source{byHand})
}

// TestALeaseThatEndsSaysWhoHadOpenedIt: each once, however many keys.
func TestALeaseThatEndsSaysWhoHadOpenedIt(t *testing.T) {
	lease := open("10.9.1.0/24", time.Hour)
	lease.Users = []backend.User{{Name: "alice", Key: "1", Left: time.Hour}, {Name: "bob", Key: "2", Left: time.Minute}, {Name: "alice", Key: "3", Left: time.Second}}
	was, will := mysql(), mysql()
	will.PrefixIPv4 = 32
	for _, c := range []struct {
		how    string
		ends   func(l *Leases) []Ended
		inTime bool
	}{
		{"a reading lacks it", func(l *Leases) []Ended { return l.Sync(time.Minute, time.Minute, nil) }, false},
		{"its time is over", func(l *Leases) []Ended { return l.Expire(time.Hour + patient + 1) }, true},
		{"its profile is another", func(l *Leases) []Ended { return l.KeepLeases([]*protocol.Profile{was}, []*protocol.Profile{will}) }, false},
	} {
		t.Run(c.how, func(t *testing.T) {
			l := New(10)
			l.Sync(0, 0, []backend.Source{lease})
			expect(t, c.ends(l), []Ended{{holder("10.9.1.0/24"), c.inTime, []string{"alice", "bob"}}})
		})
	}
}

func TestAFlushSoonAfterAKnockLosesNoUser(t *testing.T) {
	l := New(10)
	p := mysql()
	p.Lease = time.Hour
	from := netip.MustParseAddr("10.9.1.7")
	alice, bob := backend.User{Name: "alice", Key: "1f2e3d4c"}, backend.User{Name: "bob", Key: "00000000"}
	l.Grant(0, p, from, alice)
	l.Grant(time.Minute, p, from, bob)
	l.Grant(2*time.Minute, p, from, alice) // again
	want := []backend.User{{Name: "alice", Key: "1f2e3d4c", Left: time.Hour - time.Minute}, {Name: "bob", Key: "00000000", Left: time.Hour - 2*time.Minute}}
	for _, s := range l.Running(3*time.Minute, []*protocol.Profile{p}) {
		if !slices.Equal(s.Users, want) {
			t.Errorf("users %v, not %v", s.Users, want)
		}
	}
	p.Renew = true
	l.Grant(4*time.Minute, p, from, bob)
	if s := l.Running(5*time.Minute, []*protocol.Profile{p})[0]; !s.Users[0].Unlimited || s.Users[0].Name != "bob" {
		t.Errorf("of a lease that renews: %+v", s.Users)
	}
}
