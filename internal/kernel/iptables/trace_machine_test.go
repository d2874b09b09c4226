package iptables

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"knockkit/protocol"
)

// TestTheRulesDoWhatTheReferenceMachineDoes holds the two against each other on
// random streams, packet by packet: positions, leases, bans and verdicts. It is
// quick, as no kernel is in it; model_linux_test.go of package server has one.
func TestTheRulesDoWhatTheReferenceMachineDoes(t *testing.T) {
	const streams = 240
	var seen agreement
	for seed := range uint64(streams) {
		seen.add(compareStream(t, seed))
		if t.Failed() {
			t.FailNow()
		}
	}
	if seen.granted < 300 || seen.expired < 100 || seen.banned < 20 || seen.let < 300 || seen.refused < 1000 {
		t.Errorf("too little happened to prove anything: %+v", seen)
	}
}

// agreement counts what happened while the two agreed.
type agreement struct{ granted, expired, banned, let, refused int }

func (a *agreement) add(o agreement) {
	a.granted += o.granted
	a.expired += o.expired
	a.banned += o.banned
	a.let += o.let
	a.refused += o.refused
}

// streamProfiles draws up to four profiles over a few knocks; the ports 80 to 83
// are gates.
func streamProfiles(rnd *rand.Rand) []*protocol.Profile {
	letters := streamLetters()[:4]
	within := []time.Duration{0, 2 * time.Second, 5 * time.Second}[rnd.IntN(3)]
	reply := protocol.Reply(rnd.IntN(4))
	var all []*protocol.Profile
	for i := range 1 + rnd.IntN(4) {
		p := &protocol.Profile{Name: fmt.Sprintf("p%d", i), Enabled: true, PrefixIPv4: []int{32, 32, 24}[rnd.IntN(3)], PrefixIPv6: 128,
			Lease: []time.Duration{0, 4 * time.Second, time.Hour}[rnd.IntN(3)], Renew: rnd.IntN(3) == 0,
			Open:  []protocol.PortRange{{Proto: protocol.TCP, First: 80, Last: 80 + uint16(i)}},
			Reply: reply, Closed: protocol.Closed(rnd.IntN(3))}
		p.Once = !p.Renew && rnd.IntN(3) == 0
		if rnd.IntN(4) == 0 {
			p.From = []netip.Prefix{netip.MustParsePrefix("10.9.0.0/25")}
		}
		if rnd.IntN(3) == 0 {
			p.Close = &protocol.Knock{Proto: protocol.TCP, Port: 999}
		}
		for n := 1 + rnd.IntN(4); len(p.Sequence) < n; {
			k := letters[rnd.IntN(len(letters))]
			if len(p.Sequence) == 0 {
				p.Sequence = append(p.Sequence, protocol.Step{Knock: k})
			} else if p.Sequence[len(p.Sequence)-1].Knock != k {
				p.Sequence = append(p.Sequence, protocol.Step{Knock: k, Within: within})
			}
		}
		all = append(all, p)
	}
	return all
}

// streamLetters are the knocks of sequences, the close knock, gates, and nobody's.
func streamLetters() []protocol.Knock {
	tcp := func(port uint16) protocol.Knock { return protocol.Knock{Proto: protocol.TCP, Port: port} }
	return []protocol.Knock{{Proto: protocol.ICMP}, tcp(7), tcp(8000), {Proto: protocol.UDP, Port: 53},
		tcp(999), tcp(80), tcp(81), tcp(83), {Proto: protocol.UDP, Port: 80}}
}

func compareStream(t *testing.T, seed uint64) (seen agreement) {
	t.Helper()
	rnd := rand.New(rand.NewPCG(seed, 9))
	a, err := protocol.Compile(streamProfiles(rnd), protocol.IPv4)
	if err != nil {
		t.Fatal(err)
	}
	policy := protocol.Policy{Strict: rnd.IntN(4) > 0}
	if rnd.IntN(3) == 0 {
		policy.Ban = &protocol.Ban{After: 1 + rnd.IntN(3), For: 6 * time.Second}
	}
	tr := newTracer(render(input{Automaton: a, Policy: policy}))
	m := protocol.NewMachine(a, policy)
	sources := []netip.Addr{netip.MustParseAddr("10.9.0.1"), netip.MustParseAddr("10.9.0.2"), netip.MustParseAddr("10.9.0.200")}
	tr.now = time.Unix(1e9, 0)
	for i := range 120 {
		tr.now = tr.now.Add(time.Duration(rnd.IntN(8)*rnd.IntN(250)) * time.Millisecond)
		e := protocol.Event{Time: tr.now, Source: sources[rnd.IntN(len(sources))], Dest: netip.MustParseAddr("198.51.100.1"),
			Interface: "eth0", Knock: streamLetters()[rnd.IntN(len(streamLetters()))]}
		got, err := tr.walk(tracedPacket{src: e.Source, dst: e.Dest, iface: e.Interface, knock: e.Knock})
		if err != nil {
			t.Fatal(err)
		}
		step := m.Step(e)
		want := verdictOf(a, m, e, step)
		switch {
		case got.verdict == "ACCEPT":
			seen.let++
		case got.verdict == "DROP" || got.verdict == "REJECT":
			seen.refused++
		}
		seen.granted += len(step.Granted)
		if step.Expired != protocol.Root {
			seen.expired++
		}
		if step.Banned {
			seen.banned++
		}
		where := fmt.Sprintf("seed %d, event %d (%s from %s)", seed, i, e.Knock, e.Source)
		if got.verdict != want {
			t.Errorf("%s: the rules say %s, the machine %s", where, got.verdict, want)
		}
		compareSources(t, where, tr, m, a, sources)
		if t.Failed() {
			return seen
		}
	}
	return seen
}

// verdictOf is what the packet should get: the reply to a right knock, or what the
// gate says.
func verdictOf(a *protocol.Automaton, m *protocol.Machine, e protocol.Event, step protocol.Transition) string {
	switch step.Why {
	case protocol.Advance, protocol.Repeat, protocol.Suffix, protocol.Start:
		return replyTo(&a.States[step.Entered], e.Source)
	}
	switch g := m.Connect(e); {
	case g.Profile != nil:
		return "ACCEPT"
	case g.Gated:
		return map[protocol.Closed]string{protocol.ClosedDrop: "DROP", protocol.ClosedReject: "REJECT", protocol.ClosedContinue: "RETURN"}[g.Closed]
	}
	return "RETURN"
}

// replyTo is what the state answers to whom it lets in: a profile with `from`
// answers nobody else.
func replyTo(s *protocol.State, src netip.Addr) string {
	for _, u := range s.Users {
		for _, from := range append([]netip.Prefix{}, u.Profile.From...) {
			if from.Contains(src) {
				return verdictOfReply(s.Reply)
			}
		}
		if len(u.Profile.From) == 0 {
			return verdictOfReply(s.Reply)
		}
	}
	return "RETURN"
}

func verdictOfReply(r protocol.Reply) string {
	return map[protocol.Reply]string{protocol.ReplyContinue: "RETURN", protocol.ReplyAccept: "ACCEPT",
		protocol.ReplyDrop: "DROP", protocol.ReplyReject: "REJECT"}[r]
}

func compareSources(t *testing.T, where string, tr *tracer, m *protocol.Machine, a *protocol.Automaton, sources []netip.Addr) {
	t.Helper()
	tab := newTables(input{Automaton: a})
	for _, src := range sources {
		want, _ := m.Position(src, tr.now)
		tab.eachState(func(i int) {
			at, found := tr.newest(tab.state(i), src)
			if limit := a.States[i].Within; limit > 0 && tr.now.Sub(at) > limit {
				found = false
			}
			if found != (i == want) {
				t.Errorf("%s: %s is at %s, the rules have it at %s: %v", where, src, a.StateName(want), a.StateName(i), found)
			}
		})
		for _, p := range a.Profiles {
			at, found := tr.newest(tab.lease(p), src)
			if p.Lease > 0 && tr.now.Sub(at) > p.Lease {
				found = false
			}
			if found != m.HasLease(p, src, tr.now) {
				t.Errorf("%s: %s holds a lease of %s: %v, in the rules: %v", where, src, p.Name, !found, found)
			}
		}
	}
}
