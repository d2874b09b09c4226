package main

import (
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"time"

	"knockkit/client"
	"knockkit/internal/say"
	"knockkit/protocol"
)

// reasons says why a host likely did not open, the likeliest first, one line each, by the replies
// and the profile. It returns nil for a result that is Open or Knocked.
func reasons(p *protocol.Profile, r client.Result) []string {
	best := r.Best()
	if best == nil || best.Outcome.OK() {
		return nil
	}
	switch best.Outcome {
	case client.Unreachable:
		if best.Err != nil {
			var addrs []netip.Addr
			for _, a := range r.Addrs {
				addrs = append(addrs, a.Addr)
			}
			return []string{fmt.Sprintf("this machine has no route to %s%s", strings.Join(say.Texts(addrs), " or "), way(r))}
		}
		return []string{fmt.Sprintf("nobody on this network has the address %s, or a router or a firewall said that it cannot be reached", best.Addr)}
	case client.Refused:
		return refusedReasons(p, *best)
	case client.Filtered:
		all := filteredReasons(p, *best)
		if _, answered, _ := replies(*best); answered == 0 && way(r) != "" {
			all = append(all, fmt.Sprintf("the knocks left%s: perhaps %s is not reached that way, or the answers do not come back", way(r), best.Addr))
		}
		return all
	}
	return nil
}

// way says from where packets left, with a blank in front; "" where nobody chose it.
func way(r client.Result) (text string) {
	if r.Source.IsValid() {
		text += " from " + r.Source.String()
	}
	if r.Interface != "" {
		text += " over " + r.Interface
	}
	return text
}

func refusedReasons(p *protocol.Profile, a client.AddrResult) []string {
	k := a.LastCheck().Knock
	listens := fmt.Sprintf("perhaps it opened, and nothing listens on %s there", k)
	rejects := "or the knock was not understood, and the gate rejects"
	switch p.Closed {
	case protocol.ClosedReject:
		doubts := otherwise(p, a)
		doubts[0] = "the gate rejects, as this profile says, so " + doubts[0]
		return append(append(doubts, "or it opened, and nothing listens on "+k.String()+" there"), sourceReasons(p, a)...)
	case protocol.ClosedDrop:
		rejects += ", though this profile says it drops: is the server's the same?"
	default:
		rejects += ", or the profile is not installed"
	}
	if p.Signed == nil {
		return []string{listens, rejects}
	}
	return append([]string{listens, rejects}, signedReasons(time.Now())...)
}

func filteredReasons(p *protocol.Profile, a client.AddrResult) []string {
	knocks, answered, rtt := replies(a)
	var first string
	switch {
	case answered == 0:
		first = "nothing came back at all: the host drops what it does not want, it is down, or the address is wrong"
	case answered < knocks:
		first = fmt.Sprintf("%d of %d knocks were answered: the others may have been lost, or dropped on the way", answered, knocks)
	default:
		first = fmt.Sprintf("the host is there (it answered every knock, the first after %s)", say.Latency(rtt))
	}
	all := slices.Concat([]string{first}, otherwise(p, a), sourceReasons(p, a))
	if ping := pingReason(runtime.GOOS, p); ping != "" {
		all = append(all, ping)
	}
	if ban := banReason(p, a, answered > 0); ban != "" {
		all = append(all, ban)
	}
	return append(all, "on the server, knockd status says whether this address has a lease, and what else drops the port")
}

// pingReason says that the server's connection tracking may have taken a ping for one before:
// Windows sends all with the same identifier, where other systems draw one for each.
func pingReason(system string, p *protocol.Profile) string {
	if system != "windows" || !slices.ContainsFunc(p.Sequence, func(s protocol.Step) bool { return s.Knock.Proto == protocol.ICMP }) {
		return ""
	}
	return "a ping from Windows is a knock only when this machine has sent the host none for 30 s: wait that long, or take a profile without icmp"
}

// banReason says that the server may have banned this address: several attempts may have been as
// many falls. A gate drops a banned source, also where it rejects others.
func banReason(p *protocol.Profile, a client.AddrResult, answered bool) string {
	const lift = "this address for wrong knocks (there: knockd status, knockd unban ADDR)"
	switch {
	case a.Attempts < 2:
		return ""
	case answered && p.Closed == protocol.ClosedReject:
		return "this profile says that the gate rejects, and it was silent: perhaps the server has banned " + lift
	case p.Signed != nil: // a wrong token is an ordinary packet, and no fall
		return ""
	}
	return fmt.Sprintf("after %d attempts, a server that bans may have banned %s", a.Attempts, lift)
}

// otherwise lists possible differences when packets do arrive: at least one.
func otherwise(p *protocol.Profile, a client.AddrResult) []string {
	if p.Signed != nil {
		return signedReasons(time.Now())
	}
	doubts := []string{"the server's profile is another version", "another client behind the same address knocked in between"}
	if limit := p.ShortestWithin(); limit > 0 && limit <= 2*longestPause(a) {
		doubts = append([]string{fmt.Sprintf("the knocks took too long (up to %s apart, allowed are %s)",
			say.Latency(longestPause(a)), say.Duration(limit))}, doubts...)
	}
	return []string{"perhaps " + strings.Join(doubts, ", or ")}
}

// signedReasons lists why a server may not take a token. The clock comes first: it is what goes wrong
// without anybody's doing, and who reads this can tell at once.
func signedReasons(now time.Time) []string {
	return []string{
		fmt.Sprintf("perhaps the clock here or there is wrong: this machine has %s, and the server's may differ by %s at most",
			now.UTC().Format(time.DateOnly+" "+clock), say.Duration(protocol.SlotTime)),
		"or the server's service is stopped, or began less than a minute ago (there: systemctl status knockd)",
		"or the key was removed or disabled there, or has expired (there: knockd key list)",
	}
}

// sourceReasons says that the server may take no knocks from here.
func sourceReasons(p *protocol.Profile, a client.AddrResult) []string {
	from := protocol.PrefixesIn(p.From, a.Family)
	if len(p.From) == 0 {
		return nil
	}
	if len(from) == 0 {
		return []string{fmt.Sprintf("the profile's `from` has no %s prefix, so nobody can open it over %s", a.Family.Label(), a.Family.Label())}
	}
	return []string{"the server takes knocks from " + joined(say.Texts(from)) + " only: is that where yours come from?"}
}

// replies counts the knocks that were sent and answered in the last attempt,
// and returns when the first answer came.
func replies(a client.AddrResult) (knocks, answered int, first time.Duration) {
	replied := map[protocol.Knock]bool{}
	for _, p := range a.Packets {
		if p.Check || p.Attempt != a.Attempts {
			continue
		}
		came := p.Reply != client.NoReply
		if came && first == 0 {
			first = p.After
		}
		replied[p.Knock] = replied[p.Knock] || came
	}
	for _, came := range replied {
		knocks++
		if came {
			answered++
		}
	}
	return knocks, answered, first
}

// longestPause returns the longest time between two knocks of an attempt.
func longestPause(a client.AddrResult) time.Duration {
	var longest time.Duration
	for i, p := range a.Packets {
		if i > 0 && !p.Check && p.Attempt == a.Packets[i-1].Attempt {
			longest = max(longest, p.Sent-a.Packets[i-1].Sent)
		}
	}
	return longest
}
