package doctor

import (
	"testing"

	"knockkit/internal/kernel/backend"
	"knockkit/protocol"
	"knockkit/server"
)

// The clock of the machine is not a test's to change, so its finding follows from
// facts here, and conntrack's, which no namespace can be without.
func TestTheClockMattersToSignedProfiles(t *testing.T) {
	signed := &protocol.Profile{Name: "admin", Enabled: true, Signed: &protocol.Signed{}}
	plain := &protocol.Profile{Name: "mysql", Enabled: true}
	for _, c := range []struct {
		name    string
		clock   clockState
		profile *protocol.Profile
		want    Severity // "" for no finding
	}{
		{"synchronised", clockState{true, true}, signed, OK},
		{"not synchronised, and nothing is signed", clockState{true, false}, plain, Note},
		{"not synchronised", clockState{true, false}, signed, Warning},
		{"not known", clockState{}, signed, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := &facts{Clock: c.clock, Status: server.Status{Profiles: []server.ProfileStatus{{Profile: c.profile, State: server.StateInstalled}}}}
			found := clock(f)
			if c.want == "" && len(found) > 0 || c.want != "" && (len(found) != 1 || found[0].Severity != c.want) {
				t.Errorf("found %+v", found)
			}
		})
	}
}

func TestAKernelWithoutConntrackIsBrokenWhereSomethingIsInstalled(t *testing.T) {
	p := &protocol.Profile{Name: "mysql", Enabled: true}
	live := &facts{Status: server.Status{Profiles: []server.ProfileStatus{{Profile: p, State: server.StateInstalled}}}}
	if found := conntrack(live); len(found) != 1 || found[0].Severity != Broken {
		t.Errorf("installed: %+v", found)
	}
	clean := &facts{Status: server.Status{Profiles: []server.ProfileStatus{{Profile: p, State: server.StateNotInstalled}}}}
	if found := conntrack(clean); len(found) != 0 {
		t.Errorf("not installed, where the module comes with the first rule: %+v", found)
	}
}

func TestWhatCouldNotBeSeenIsSaid(t *testing.T) {
	found := unreadable(&facts{Unread: []unread{{"the rules of nftables", backend.ErrPrivilege}}})
	if len(found) != 1 || found[0].Severity != Warning || found[0].Todo != "run it as root: sudo knockd doctor" {
		t.Errorf("found %+v", found)
	}
}
