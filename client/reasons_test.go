package client

import (
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"knockkit/protocol"
)

// seen makes the last attempt of an address: each knock with its reply, 10 ms
// apart, and the check.
func seen(state Outcome, knocks Reply, check Reply) AddrResult {
	a := AddrResult{Family: protocol.IPv4, Addr: v4(), Outcome: state, Attempts: 1}
	for i, s := range mysql().Sequence {
		p := Packet{Attempt: 1, Knock: s.Knock, Sent: time.Duration(i) * 10 * ms, Reply: knocks}
		if knocks != NoReply {
			p.After = 20 * ms
		}
		a.Packets = append(a.Packets, p)
	}
	a.Packets = append(a.Packets, Packet{Attempt: 1, Knock: tcpKnock(3306), Check: true, Sent: 30 * ms, Reply: check})
	return a
}

func TestReasonsFollowFromWhatWasSeen(t *testing.T) {
	const perhaps = "perhaps the server's profile is another version, or another client behind the same address knocked in between"
	const listens = "it opened, but nothing listens on 3306/tcp there"
	slow := seen(Filtered, RefusedReply, NoReply)
	slow.Packets[2].Sent = 700 * ms
	half := seen(Filtered, NoReply, NoReply)
	half.Packets[0].Reply, half.Packets[0].After = Answered, 20*ms
	const lift = "this address for wrong knocks (there: knockd status, knockd unban ADDR)"
	third := func(a AddrResult) AddrResult {
		a.Attempts = 3
		for i := range a.Packets {
			a.Packets[i].Attempt = 3
		}
		return a
	}
	for _, c := range []struct {
		name   string
		addr   AddrResult
		change func(*protocol.Profile)
		want   []string
	}{
		{"open", seen(Open, NoReply, Accepted), nil, nil},
		{"nothing came back", seen(Filtered, NoReply, NoReply), nil, []string{
			"nothing came back at all: the host drops what it does not want, it is down, or the address is wrong", perhaps}},
		{"the knocks were answered", seen(Filtered, RefusedReply, NoReply), nil, []string{
			"the host is there (it answered every knock, the first after 20 ms)", perhaps}},
		{"some knocks were answered", half, nil, []string{
			"1 of 3 knocks were answered: the others may have been lost, or dropped on the way", perhaps}},
		{"slow for a short limit", slow, func(p *protocol.Profile) { p.Sequence[2].Within = time.Second }, []string{
			"the host is there (it answered every knock, the first after 20 ms)",
			"perhaps the knocks took too long (up to 690 ms apart, allowed are 1s), or the server's profile is another version, or another client behind the same address knocked in between"}},
		{"from elsewhere", seen(Filtered, NoReply, NoReply), func(p *protocol.Profile) {
			p.From = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}
		}, []string{
			"nothing came back at all: the host drops what it does not want, it is down, or the address is wrong", perhaps,
			"the server takes knocks from 203.0.113.0/24 only: is that where yours come from?"}},
		{"after several attempts", third(seen(Filtered, RefusedReply, NoReply)), nil, []string{
			"the host is there (it answered every knock, the first after 20 ms)", perhaps,
			"after 3 attempts, a server that bans may have banned " + lift}},
		{"a gate that rejects others", third(seen(Filtered, RefusedReply, NoReply)), func(p *protocol.Profile) { p.Closed = protocol.ClosedReject }, []string{
			"the host is there (it answered every knock, the first after 20 ms)", perhaps,
			"this profile says that the gate rejects, and it was silent: perhaps the server has banned " + lift}},
		{"refused after several attempts", third(seen(Refused, NoReply, RefusedReply)), nil, []string{listens,
			"the knock was not understood, and the gate rejects, though this profile says it drops: is the server's the same?"}},
		{"refused by a gate that drops", seen(Refused, NoReply, RefusedReply), nil, []string{listens,
			"the knock was not understood, and the gate rejects, though this profile says it drops: is the server's the same?"}},
		{"refused by a gate that rejects", seen(Refused, NoReply, RefusedReply), func(p *protocol.Profile) { p.Closed = protocol.ClosedReject },
			[]string{"the gate rejects, as this profile says, so " + perhaps, listens}},
		{"refused by a gate that lets the host answer", seen(Refused, NoReply, RefusedReply), func(p *protocol.Profile) { p.Closed = protocol.ClosedContinue },
			[]string{listens, "the knock was not understood, and the gate rejects, or the profile is not installed"}},
		{"no route", AddrResult{Addr: v4(), Outcome: Unreachable, Err: syscall.ENETUNREACH}, nil,
			[]string{"this machine has no route to 198.51.100.2"}},
		{"a router's word", seen(Unreachable, NoReply, NotReachable), nil,
			[]string{"nobody on this network has the address 198.51.100.2, or a router or a firewall said that it cannot be reached"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := mysql()
			if c.change != nil {
				c.change(p)
			}
			got := Reasons(p, Result{Addrs: []AddrResult{c.addr}})
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
