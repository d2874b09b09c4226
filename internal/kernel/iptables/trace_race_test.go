package iptables

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"knockkit/protocol"
)

// TestOfTwoPacketsInTheSameMomentOneLeavesThePosition sends a packet from a source in a
// position, which another processor takes out of it in between: after KNOCKD has seen
// that the source is in a position, and before the packet has left it.
func TestOfTwoPacketsInTheSameMomentOneLeavesThePosition(t *testing.T) {
	tcp := func(port uint16) protocol.Knock { return protocol.Knock{Proto: protocol.TCP, Port: port} }
	p := &protocol.Profile{Name: "mysql", Enabled: true, Lease: time.Hour, PrefixIPv4: 32, PrefixIPv6: 128,
		Open:     []protocol.PortRange{{Proto: protocol.TCP, First: 3306, Last: 3306}},
		Sequence: []protocol.Step{{Knock: tcp(7)}, {Knock: tcp(8), Within: time.Minute}}}
	a, err := protocol.Compile([]*protocol.Profile{p}, protocol.IPv4)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		second  protocol.Knock
		verdict string // of the second packet
	}{
		{"a connection to the gate is shut out", tcp(3306), "DROP"},
		{"a right knock is nobody's", tcp(8), "RETURN"},
		{"a packet to nobody's port goes on", tcp(9), "RETURN"},
		{"a repeated knock keeps the position", tcp(7), "RETURN"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tr := newTracer(render(input{Automaton: a, Policy: protocol.Policy{Strict: true}}))
			tr.now = time.Unix(1e9, 0)
			packet := tracedPacket{src: netip.MustParseAddr("10.9.0.1"), dst: netip.MustParseAddr("198.51.100.1"), iface: "eth0", knock: tcp(7)}
			if _, err := tr.walk(packet); err != nil {
				t.Fatal(err)
			}
			position := tr.tables["mysql.1.KNOCKD4"]
			if len(position) != 1 {
				t.Fatalf("after the first knock the position has %d sources", len(position))
			}
			raced := false
			tr.enters = func(chain string) {
				if strings.HasPrefix(chain, prefixNext) {
					raced = true
					clear(position)
				}
			}
			packet.knock = c.second
			got, err := tr.walk(packet)
			if err != nil {
				t.Fatal(err)
			}
			if !raced || got.verdict != c.verdict {
				t.Errorf("the second packet gets %q (raced: %t), want %q", got.verdict, raced, c.verdict)
			}
			if now := len(position) > 0; now != (c.second == tcp(7)) {
				t.Errorf("the source is in the position afterwards: %t", now)
			}
			if leases := tr.tables["mysql.open.KNOCKD4"]; len(leases) != 0 {
				t.Errorf("a lease was granted to %v", leases)
			}
		})
	}
}
