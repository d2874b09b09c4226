package iptables

import (
	"fmt"
	"math"
	"net/netip"
	"testing"
	"time"

	"knockkit/protocol"
)

// manyProfiles returns n profiles of three TCP knocks and one port each, none of
// which two share.
func manyProfiles(n int) []*protocol.Profile {
	var all []*protocol.Profile
	for i := range n {
		p := &protocol.Profile{Name: fmt.Sprintf("p%04d", i), Enabled: true, Lease: time.Hour, PrefixIPv4: 32, PrefixIPv6: 128,
			Open: []protocol.PortRange{{Proto: protocol.TCP, First: uint16(1000 + 2*i), Last: uint16(1000 + 2*i)}}}
		for step := range 3 {
			s := protocol.Step{Knock: protocol.Knock{Proto: protocol.TCP, Port: uint16(10000 + 10000*step + 3*i)}}
			if step > 0 {
				s.Within = 10 * time.Second
			}
			p.Sequence = append(p.Sequence, s)
		}
		all = append(all, p)
	}
	return all
}

// TestAStrangersPacketCostsTheSameHoweverManyProfilesThereAre counts rules and
// look-ups. Where the numbers come from:
//
//   - KNOCKD has 8 rules up to `-p tcp -g KNOCKD-TCP`: loopback, established,
//     no SYN, not local, three times "in a position?", TCP.
//   - A TCP packet is asked once whether it is in a position: 1 look-up, as the
//     other two of these rules are for UDP and ICMP.
//   - A split costs 2 rules at most for each halving of the 2n ranges (n first
//     knocks, n gates) down to chains of 8 ranges, of 2 rules at most each.
//   - A first knock is reported, and notes its state and that there is one: 3 rules,
//     2 look-ups more.
//   - A gate asks the shared table of lease holders: 1 look-up more. The connection
//     is reported and shut out: 2 rules.
func TestAStrangersPacketCostsTheSameHoweverManyProfilesThereAre(t *testing.T) {
	const entryRules, leafRules = 8, 2 * leafSize
	for _, n := range []int{1, 10, 100, 1000} {
		a, err := protocol.Compile(manyProfiles(n), protocol.IPv4)
		if err != nil {
			t.Fatal(err)
		}
		tr := newTracer(render(input{Automaton: a, Policy: protocol.Policy{Strict: true}}))
		halvings := math.Ceil(math.Log2(max(1, float64(2*n)/leafSize)))
		bound := entryRules + 2*int(halvings) + leafRules
		last := uint16(n - 1)
		for i, c := range []struct {
			name          string
			port          uint16
			rules, recent int
			verdict       string
		}{
			{"a port of nobody's, below all", 1, bound, 1, "RETURN"},
			{"a port of nobody's, between", 1001 + 2*(last/2), bound, 1, "RETURN"},
			{"a port of nobody's, above all", 65535, bound, 1, "RETURN"},
			{"a second knock out of turn", 20000 + 3*last, bound, 1, "RETURN"},
			{"the first profile's first knock", 10000, bound + 3, 3, "RETURN"},
			{"the last profile's first knock", 10000 + 3*last, bound + 3, 3, "RETURN"},
			{"the first profile's gate", 1000, bound + 2, 2, "DROP"},
			{"the last profile's gate", 1000 + 2*last, bound + 2, 2, "DROP"},
		} {
			t.Run(fmt.Sprintf("%d profiles, %s", n, c.name), func(t *testing.T) {
				stranger := netip.AddrFrom4([4]byte{10, 9, 0, byte(i)}) // another one each time
				got, err := tr.walk(tracedPacket{src: stranger, dst: netip.MustParseAddr("198.51.100.1"), iface: "eth0",
					knock: protocol.Knock{Proto: protocol.TCP, Port: c.port}})
				if err != nil {
					t.Fatal(err)
				}
				if got.rules > c.rules || got.recent != c.recent || got.verdict != c.verdict {
					t.Errorf("%+v; want at most %d rules, %d look-ups, %s", got, c.rules, c.recent, c.verdict)
				}
			})
		}
	}
}

// TestPacketsThatAreNoEventsAskNoTable: established connections are most packets
// that a host sees.
func TestPacketsThatAreNoEventsAskNoTable(t *testing.T) {
	a, err := protocol.Compile(manyProfiles(1000), protocol.IPv4)
	if err != nil {
		t.Fatal(err)
	}
	tr := newTracer(render(input{Automaton: a, Policy: protocol.Policy{Strict: true}}))
	tcp := protocol.Knock{Proto: protocol.TCP, Port: 10000}
	for _, c := range []struct {
		name    string
		packet  tracedPacket
		rules   int
		verdict string
	}{
		// 2000 ranges in chains of 8 are 8 halvings, of 2 rules each; strays and
		// gates alone have 1000, so 7.
		{"loopback", tracedPacket{iface: "lo", knock: tcp}, 1, "RETURN"},
		{"established", tracedPacket{knock: tcp, established: true, notSYN: true}, 2, "RETURN"},
		{"an established flow of datagrams", tracedPacket{knock: protocol.Knock{Proto: protocol.UDP, Port: 53}, established: true}, 3, "RETURN"},
		{"a stray ACK", tracedPacket{knock: tcp, notSYN: true}, 6 + 1 + 2*7 + leafSize, "RETURN"},
		{"a stray ACK to a gate", tracedPacket{knock: protocol.Knock{Proto: protocol.TCP, Port: 1000}, notSYN: true}, 6 + 1 + 2*7 + leafSize, "DROP"},
		{"multicast", tracedPacket{knock: protocol.Knock{Proto: protocol.UDP, Port: 5353}, multicast: true}, 7 + 1, "RETURN"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.packet.src, c.packet.dst = netip.MustParseAddr("10.9.0.1"), netip.MustParseAddr("198.51.100.1")
			got, err := tr.walk(c.packet)
			if err != nil {
				t.Fatal(err)
			}
			if got.rules > c.rules || got.recent != 0 || got.verdict != c.verdict {
				t.Errorf("%+v; want at most %d rules, no look-up, %s", got, c.rules, c.verdict)
			}
		})
	}
}

func TestTheTracerRefusesARuleThatItDoesNotKnow(t *testing.T) {
	for _, rule := range []string{"-m limit --limit 10/min -j ACCEPT", "-m recent --reap --name x --mask 255.255.255.255 --rsource", "-g KNOCKD-NOWHERE"} {
		tr := newTracer(&ruleset{Family: protocol.IPv4, Chains: []*chain{{Name: chainTop, Rules: []string{rule}}}})
		got, err := tr.walk(tracedPacket{src: netip.MustParseAddr("10.9.0.1")})
		if err == nil {
			t.Errorf("%q is passed over: %+v", rule, got)
		}
	}
}
