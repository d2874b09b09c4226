package server_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"knockkit/protocol"
	"knockkit/server"
)

// TestTheKernelTakesTokensAsTheReferenceMachineDoes sends random packets, with tokens that are right,
// used, misplaced or nobody's, from many sources, and ends what users have opened meanwhile.
func TestTheKernelTakesTokensAsTheReferenceMachineDoes(t *testing.T) {
	for _, c := range []struct{ name, more string }{
		{"plain", ""},
		{"for one network, with a close knock", "prefix = { ipv4 = 30, ipv6 = 126 }\nclose = \"9000/tcp\"\n"},
		{"from some sources", "from = [\"10.9.0.0/28\", \"2001:db8:9::/61\"]\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSignedSite(t, c.more)
			bob := newKey("admin", "bob", 3)
			s.keys = append(s.keys, bob)
			s.fresh(bob)
			profiles := []*protocol.Profile{parse(t, "admin", adminSigned+c.more), parse(t, "web", webSigned+c.more),
				parse(t, "mysql", "sequence = [\"40123/udp\", \"7/tcp\", \"icmp\"]\nwithin = \"1m\"\nopen = [\"3306/tcp\"]\n")}
			s.install(profiles[2])
			m := newModel(t, s.site, profiles, strict())
			tokens := []protocol.Token{{}, {}, {1}}
			for _, k := range s.keys {
				for away := int64(-protocol.LateSlots); away <= protocol.EarlySlots; away++ {
					for i := range protocol.Indexes {
						token := k.Token(protocol.Slot(s.now)+away, i)
						tokens = append(tokens, token)
						for _, machine := range m.machines {
							machine.Load(protocol.Find(profiles, k.Profile), k.User, token, time.Now().Add(time.Hour))
						}
					}
				}
			}
			rnd := rand.New(rand.NewPCG(1, 7))
			knocks := []protocol.Knock{ping, ping, udp(40123), udp(40123), tcp(7), tcp(9000)}
			usedBy := map[protocol.Token]protocol.Family{}
			for i := range 400 {
				src, k, token := m.sources[rnd.IntN(len(m.sources))], knocks[rnd.IntN(len(knocks))], tokens[rnd.IntN(len(tokens))]
				f := protocol.FamilyOf(src)
				if by, used := usedBy[token]; used && by != f { // of which this family's machine knows nothing
					token = protocol.Token{}
				}
				e := protocol.Event{Time: time.Now(), Source: src, Dest: s.dest(src), Knock: k}
				if k.Proto == protocol.TCP {
					s.send(src, k)
				} else {
					e.Token = token
					s.inject(s.knock(src, k, token[:]))
				}
				m.history[src] = append(m.history[src], k)
				if m.machines[f].Step(e).Why == protocol.ByToken {
					usedBy[token] = f
				}
				if i%40 == 39 {
					user := []string{"alice", "bob"}[rnd.IntN(2)]
					s.do(func() error { _, err := s.srv.RevokeUser(t.Context(), "admin", user, false); return err })
					for _, machine := range m.machines {
						machine.EndUser(profiles[0], user, time.Now())
					}
				}
			}
			if profiles[0].PrefixIPv4 == 32 { // else sources share leases
				m.compare()
			}
			compareUsers(t, m, s.sources())
		})
	}
}

// compareUsers fails unless the kernel and the machines name the same users of each lease.
func compareUsers(t *testing.T, m *model, sources []server.Source) {
	t.Helper()
	want, got := map[string]bool{}, map[string]bool{}
	for _, src := range m.sources {
		for _, p := range m.profiles {
			for _, user := range m.machines[protocol.FamilyOf(src)].Users(p, src, time.Now()) {
				holder, _ := src.Prefix(p.Prefix(protocol.FamilyOf(src)))
				want[fmt.Sprintf("%s of %s by %s", p.Name, holder, user)] = true
			}
		}
	}
	for _, x := range sources {
		for _, u := range x.Users {
			got[fmt.Sprintf("%s of %s by %s", x.Profile, x.Address, u.Name)] = true
		}
	}
	if w, g := slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got)); !slices.Equal(w, g) {
		t.Errorf("the kernel says %q, the machine says %q", g, w)
	}
	if len(want) < 3 {
		t.Errorf("%d users of leases: too few to prove anything", len(want))
	}
}
