package server_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"knockkit/internal/kernel/backend"
	"knockkit/protocol"
)

// kind is a knock of one protocol, what a host that lets everything in answers to
// it where nobody listens, and what a host that refuses politely does.
type kind struct {
	knock             protocol.Knock
	natural, rejected string
}

func kinds() []kind {
	return []kind{
		{ping, "echo reply", "port unreachable"},
		{tcp(7), "rst+ack", "rst+ack"},
		{udp(7), "port unreachable", "port unreachable"},
	}
}

// around is a profile with the knock in the middle: a source after the first knock
// makes it right, a stranger wrong. Profiles with other numbers share no position.
func around(t testing.TB, number int, k protocol.Knock, reply string) *protocol.Profile {
	return parse(t, fmt.Sprintf("p%d", number), fmt.Sprintf("sequence = [\"%d/tcp\", %q, \"%d/tcp\"]\nopen = [\"80/tcp\"]\nreply = %q",
		1000+number, k, 2000+number, reply))
}

func TestWhatComesBackForARightKnockIsWhatReplySays(t *testing.T) {
	for _, policy := range []string{"ACCEPT", "DROP"} {
		t.Run("policy "+policy, func(t *testing.T) {
			eachBackend(t, func(t *testing.T, name string) { checkReplies(t, name, policy) })
		})
	}
}

func checkReplies(t *testing.T, name, policy string) {
	s := newSite(t, name, strict())
	wrong := func(k kind) string { return k.natural }
	if policy == "DROP" {
		s.dropByDefault()
		wrong = func(kind) string { return "silence" }
	}
	type test struct {
		profile     *protocol.Profile
		kind        kind
		right, what string
	}
	var tests []test
	var profiles []*protocol.Profile
	for _, k := range kinds() {
		for _, right := range []struct{ reply, answer string }{
			{"continue", wrong(k)},
			{"accept", final(name, k.natural, wrong(k))},
			{"drop", "silence"},
			{"reject", k.rejected},
		} {
			p := around(t, len(profiles), k.knock, right.reply)
			profiles = append(profiles, p)
			tests = append(tests, test{p, k, right.answer, fmt.Sprintf("%s with reply = %q", k.knock, right.reply)})
		}
	}
	s.install(profiles...)
	eachFamily(t, func(t *testing.T, stranger, _ netip.Addr) {
		s.t = t
		for i, test := range tests {
			one := forged(protocol.FamilyOf(stranger), 10+i)
			if got := s.answerTo(stranger, test.kind.knock); got != wrong(test.kind) {
				t.Errorf("%s: a wrong knock gets %s, not %s", test.what, got, wrong(test.kind))
			}
			s.send(one, test.profile.Sequence[0].Knock)
			if got := s.answerTo(one, test.kind.knock); got != test.right {
				t.Errorf("%s: a right knock gets %s, not %s", test.what, got, test.right)
			}
			s.send(one, test.profile.Sequence[2].Knock)
		}
		leases := s.sources()
		for i, test := range tests {
			one := forged(protocol.FamilyOf(stranger), 10+i)
			if !slices.ContainsFunc(leases, func(x backend.Source) bool {
				return x.State == backend.Open && x.Profile == test.profile.Name && x.Address.Contains(one)
			}) {
				t.Errorf("%s: the sequence did not open", test.what)
			}
		}
	})
}

// TestARightKnockIsAnsweredExactlyAsAWrongOne is why `reply = "continue"` is the
// default: nobody can find the sequence port by port by looking at the answers.
func TestARightKnockIsAnsweredExactlyAsAWrongOne(t *testing.T) {
	const listening = 2222
	for _, policy := range []string{"ACCEPT", "DROP"} {
		t.Run("policy "+policy, func(t *testing.T) {
			eachBackend(t, func(t *testing.T, name string) {
				s := newSite(t, name, strict())
				if policy == "DROP" {
					s.dropByDefault()
				}
				s.listen(listening)
				var profiles []*protocol.Profile
				for i, k := range []protocol.Knock{ping, tcp(7), udp(7), tcp(listening)} {
					profiles = append(profiles, around(t, i, k, "continue"))
				}
				s.install(profiles...)
				eachFamily(t, func(t *testing.T, one, other netip.Addr) {
					s.t = t
					for _, p := range profiles {
						s.sameLooks(p, one)
						if silent := s.look(other, p.Sequence[1].Knock) == "silence"; silent != (policy == "DROP") {
							t.Errorf("%s is met with silence: %v; so this compares nothing", p.Sequence[1].Knock, silent)
						}
					}
				})
			})
		})
	}
}

// sameLooks compares the answers to the first, the second and the last right knock
// with those to the same packets at a wrong time, or to another port, from the very
// same source.
func (s *site) sameLooks(p *protocol.Profile, one netip.Addr) {
	s.t.Helper()
	first, second, last := p.Sequence[0].Knock, p.Sequence[1].Knock, p.Sequence[2].Knock
	same := func(what, right, wrong string) {
		s.t.Helper()
		if right != wrong {
			s.t.Errorf("%s of %v: a right knock is answered with\n%s, a wrong one with\n%s", what, sequence(p), right, wrong)
		}
	}
	wrongSecond, wrongLast, elsewhere := s.look(one, second), s.look(one, last), s.look(one, tcp(9))
	same("the first", s.look(one, first), elsewhere)
	same("the second", s.look(one, second), wrongSecond)
	same("the second again", s.look(one, second), wrongSecond)
	same("the last", s.look(one, last), wrongLast)
	if !s.holds(p.Name, one) {
		s.t.Error("the right knocks were not right")
	}
	same("the last of a lease holder", s.look(one, last), wrongLast)
}
