package main

import (
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"knockkit/client"
	"knockkit/protocol"
)

// articles is the article's profile.
func articles() *protocol.Profile {
	return &protocol.Profile{
		Name: "mysql", Enabled: true, Open: []protocol.PortRange{{Proto: protocol.TCP, First: 3306, Last: 3306}},
		Sequence: []protocol.Step{
			{Knock: protocol.Knock{Proto: protocol.ICMP}},
			{Knock: protocol.Knock{Proto: protocol.TCP, Port: 7}, Within: 10 * time.Second},
			{Knock: protocol.Knock{Proto: protocol.TCP, Port: 8000}, Within: 10 * time.Second},
		},
	}
}

// seen makes the last attempt of an address: each knock with its reply, 10 ms
// apart, and the check.
func seen(state client.Outcome, knocks, check client.Reply) client.AddrResult {
	a := client.AddrResult{Family: protocol.IPv4, Addr: netip.MustParseAddr("198.51.100.2"), Outcome: state, Attempts: 1}
	for i, s := range articles().Sequence {
		p := client.Packet{Attempt: 1, Knock: s.Knock, Sent: time.Duration(i) * 10 * time.Millisecond, Reply: knocks}
		if knocks != client.NoReply {
			p.After = 20 * time.Millisecond
		}
		a.Packets = append(a.Packets, p)
	}
	a.Packets = append(a.Packets, client.Packet{Attempt: 1, Knock: protocol.Knock{Proto: protocol.TCP, Port: 3306}, Check: true, Sent: 30 * time.Millisecond, Reply: check})
	return a
}

func TestReasonsNameTheChosenWay(t *testing.T) {
	silent, answered := seen(client.Filtered, client.NoReply, client.NoReply), seen(client.Filtered, client.RefusedReply, client.NoReply)
	noRoute := client.AddrResult{Addr: silent.Addr, Outcome: client.Unreachable, Err: syscall.ENETUNREACH}
	source := netip.MustParseAddr("198.51.100.9")
	for _, c := range []struct {
		name string
		r    client.Result
		want string // the last reason
	}{
		{"silence", client.Result{Interface: "tun0", Addrs: []client.AddrResult{silent}},
			"the knocks left over tun0: perhaps 198.51.100.2 is not reached that way, or the answers do not come back"},
		{"silence, from an address too", client.Result{Source: source, Interface: "tun0", Addrs: []client.AddrResult{silent}},
			"the knocks left from 198.51.100.9 over tun0: perhaps 198.51.100.2 is not reached that way, or the answers do not come back"},
		{"no route", client.Result{Source: source, Addrs: []client.AddrResult{noRoute}}, "this machine has no route to 198.51.100.2 from 198.51.100.9"},
		{"answers came back", client.Result{Source: source, Addrs: []client.AddrResult{answered}},
			"on the server, knockd status says whether this address has a lease, and what else drops the port"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := reasons(articles(), c.r)
			if len(got) == 0 || got[len(got)-1] != c.want {
				t.Errorf("%q, want the last to be %q", got, c.want)
			}
		})
	}
}

func TestReasonsFollowFromWhatWasSeen(t *testing.T) {
	const perhaps = "perhaps the server's profile is another version, or another client behind the same address knocked in between"
	const listens = "perhaps it opened, and nothing listens on 3306/tcp there"
	const there = "on the server, knockd status says whether this address has a lease, and what else drops the port"
	slow := seen(client.Filtered, client.RefusedReply, client.NoReply)
	slow.Packets[2].Sent = 700 * time.Millisecond
	half := seen(client.Filtered, client.NoReply, client.NoReply)
	half.Packets[0].Reply, half.Packets[0].After = client.Answered, 20*time.Millisecond
	const lift = "this address for wrong knocks (there: knockd status, knockd unban ADDR)"
	third := func(a client.AddrResult) client.AddrResult {
		a.Attempts = 3
		for i := range a.Packets {
			a.Packets[i].Attempt = 3
		}
		return a
	}
	for _, c := range []struct {
		name   string
		addr   client.AddrResult
		change func(*protocol.Profile)
		want   []string
	}{
		{"open", seen(client.Open, client.NoReply, client.Accepted), nil, nil},
		{"nothing came back", seen(client.Filtered, client.NoReply, client.NoReply), nil, []string{
			"nothing came back at all: the host drops what it does not want, it is down, or the address is wrong", perhaps, there}},
		{"the knocks were answered", seen(client.Filtered, client.RefusedReply, client.NoReply), nil, []string{
			"the host is there (it answered every knock, the first after 20 ms)", perhaps, there}},
		{"some knocks were answered", half, nil, []string{
			"1 of 3 knocks were answered: the others may have been lost, or dropped on the way", perhaps, there}},
		{"slow for a short limit", slow, func(p *protocol.Profile) { p.Sequence[2].Within = time.Second }, []string{
			"the host is there (it answered every knock, the first after 20 ms)",
			"perhaps the knocks took too long (up to 690 ms apart, allowed are 1s), or the server's profile is another version, or another client behind the same address knocked in between", there}},
		{"from elsewhere", seen(client.Filtered, client.NoReply, client.NoReply), func(p *protocol.Profile) {
			p.From = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}
		}, []string{
			"nothing came back at all: the host drops what it does not want, it is down, or the address is wrong", perhaps,
			"the server takes knocks from 203.0.113.0/24 only: is that where yours come from?", there}},
		{"after several attempts", third(seen(client.Filtered, client.RefusedReply, client.NoReply)), nil, []string{
			"the host is there (it answered every knock, the first after 20 ms)", perhaps,
			"after 3 attempts, a server that bans may have banned " + lift, there}},
		{"a gate that rejects others", third(seen(client.Filtered, client.RefusedReply, client.NoReply)), func(p *protocol.Profile) { p.Closed = protocol.ClosedReject }, []string{
			"the host is there (it answered every knock, the first after 20 ms)", perhaps,
			"this profile says that the gate rejects, and it was silent: perhaps the server has banned " + lift, there}},
		{"refused after several attempts", third(seen(client.Refused, client.NoReply, client.RefusedReply)), nil, []string{listens,
			"or the knock was not understood, and the gate rejects, though this profile says it drops: is the server's the same?"}},
		{"refused by a gate that drops", seen(client.Refused, client.NoReply, client.RefusedReply), nil, []string{listens,
			"or the knock was not understood, and the gate rejects, though this profile says it drops: is the server's the same?"}},
		{"refused by a gate that rejects", seen(client.Refused, client.NoReply, client.RefusedReply), func(p *protocol.Profile) { p.Closed = protocol.ClosedReject },
			[]string{"the gate rejects, as this profile says, so " + perhaps, "or it opened, and nothing listens on 3306/tcp there"}},
		{"refused by a gate that lets the host answer", seen(client.Refused, client.NoReply, client.RefusedReply), func(p *protocol.Profile) { p.Closed = protocol.ClosedContinue },
			[]string{listens, "or the knock was not understood, and the gate rejects, or the profile is not installed"}},
		{"no route", client.AddrResult{Addr: netip.MustParseAddr("198.51.100.2"), Outcome: client.Unreachable, Err: syscall.ENETUNREACH}, nil,
			[]string{"this machine has no route to 198.51.100.2"}},
		{"a router's word", seen(client.Unreachable, client.NoReply, client.NotReachable), nil,
			[]string{"nobody on this network has the address 198.51.100.2, or a router or a firewall said that it cannot be reached"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := articles()
			if c.change != nil {
				c.change(p)
			}
			got := reasons(p, client.Result{Addrs: []client.AddrResult{c.addr}})
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAPingFromWindowsMayBeTakenForOneBefore(t *testing.T) {
	ping := articles()
	other := articles()
	other.Sequence = other.Sequence[1:]
	for _, c := range []struct {
		system string
		p      *protocol.Profile
		want   bool
	}{{"windows", ping, true}, {"windows", other, false}, {"linux", ping, false}, {"darwin", ping, false}} {
		if got := pingReason(c.system, c.p); (got != "") != c.want {
			t.Errorf("on %s, before the knocks %v, the reason is %q", c.system, c.p.Sequence, got)
		}
	}
}

func TestReasonsOfASignedKnockBeginWithTheClock(t *testing.T) {
	now := time.Date(2026, 11, 27, 12, 0, 0, 0, time.FixedZone("CET", 3600))
	want := "perhaps the clock here or there is wrong: this machine has 2026-11-27 11:00:00 UTC, and the server's may differ by 30s at most"
	if got := signedReasons(now); got[0] != want {
		t.Errorf("%q, want %q", got[0], want)
	}
	clockIn := func(all []string) (at int) {
		return slices.IndexFunc(all, func(line string) bool { return strings.Contains(line, "perhaps the clock here or there is wrong") })
	}
	for _, closed := range []protocol.Closed{protocol.ClosedDrop, protocol.ClosedReject, protocol.ClosedContinue} {
		p := articles()
		p.Sequence, p.Signed, p.Closed = nil, &protocol.Signed{}, closed
		for outcome, reply := range map[client.Outcome]client.Reply{client.Filtered: client.NoReply, client.Refused: client.RefusedReply} {
			all := reasons(p, client.Result{Addrs: []client.AddrResult{seen(outcome, client.Answered, reply)}})
			if at := clockIn(all); at < 0 || at > 2 {
				t.Errorf("closed = %s, %s: the clock is not among the first of %q", closed, outcome, all)
			}
		}
	}
}
