package iptables

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"knockkit/internal/kernel/backend"
	"knockkit/protocol"
)

// rule is the parts of a rule: matches, comment and verdict, each as text.
type rule []string

// String joins the parts in the order in which iptables-save prints them: the
// source, the destination and interface, the protocol, then the rest as it stands.
func (r rule) String() string {
	parts := slices.DeleteFunc(slices.Clone(r), func(p string) bool { return p == "" })
	slices.SortStableFunc(parts, func(x, y string) int { return cmp.Compare(rank(x), rank(y)) })
	return strings.Join(parts, " ")
}

func rank(part string) int {
	for i, flags := range [...][]string{{"-s "}, {"-d ", "-i "}, {"-p "}} {
		for _, f := range flags {
			if strings.HasPrefix(strings.TrimPrefix(part, "! "), f) {
				return i
			}
		}
	}
	return 3
}

// with returns the rule with more parts behind it.
func (r rule) with(parts ...string) rule { return slices.Concat(r, parts) }

// dialect holds what differs between iptables and ip6tables.
type dialect struct {
	family protocol.Family
}

// proto matches the packets of a protocol.
func (d dialect) proto(p protocol.Proto) string {
	if p == protocol.ICMP && d.family == protocol.IPv6 {
		return "-p ipv6-icmp"
	}
	return "-p " + p.String()
}

// knock matches a packet of kind k. KNOCKD has checked already that a TCP packet is a SYN.
func (d dialect) knock(k protocol.Knock) string {
	switch {
	case k.Proto != protocol.ICMP:
		return ports(protocol.PortRange{Proto: k.Proto, First: k.Port, Last: k.Port})
	case d.family == protocol.IPv6:
		return "-p ipv6-icmp -m icmp6 --icmpv6-type 128"
	}
	return "-p icmp -m icmp --icmp-type 8"
}

// ports matches packets to a range of ports.
func ports(r protocol.PortRange) string {
	if r.First == r.Last {
		return fmt.Sprintf("-p %s -m %s --dport %d", r.Proto, r.Proto, r.First)
	}
	return fmt.Sprintf("-p %s -m %s --dport %d:%d", r.Proto, r.Proto, r.First, r.Last)
}

// scope returns one match for each destination prefix of the scope.
func scope(s protocol.Scope) []string {
	in := ""
	if s.Interface != "" {
		in = "-i " + s.Interface
	}
	if len(s.To) == 0 {
		return []string{in}
	}
	var all []string
	for _, to := range s.To {
		all = append(all, strings.TrimSpace(prefix("-d", to)+" "+in))
	}
	return all
}

// sources returns one match for each prefix in which a source must lie.
func (d dialect) sources(p *protocol.Profile) []string {
	if len(p.From) == 0 {
		return []string{""}
	}
	var all []string
	for _, from := range protocol.PrefixesIn(p.From, d.family) {
		all = append(all, prefix("-s", from))
	}
	return all
}

// prefix matches an address or prefix as iptables-save prints it: nothing for 0.0.0.0/0 and ::/0,
// which match everything.
func prefix(flag string, p netip.Prefix) string {
	if p.Bits() == 0 {
		return ""
	}
	return flag + " " + p.String()
}

// table is one recency table as a rule names it.
type table struct {
	family protocol.Family
	name   string
	bits   int // how many bits of an address count
}

func (t table) match(op string) string {
	return fmt.Sprintf("-m recent %s --name %s --mask %s --rsource", op, t.name, t.family.Netmask(t.bits))
}

func (t table) set() string    { return t.match("--set") }
func (t table) remove() string { return t.match("--remove") }
func (t table) check() string  { return t.match("--rcheck") }

// left takes the source out of the table, and matches where it was not in it.
func (t table) left() string { return t.match("! --remove") }

// within matches a source whose entry is at most d old; d = 0: of any age.
func (t table) within(d time.Duration) string { return t.match("--rcheck" + secondsFlag(d)) }

// renew matches like within, and makes the entry new.
func (t table) renew(d time.Duration) string { return t.match("--update" + secondsFlag(d)) }

// often matches a source that was written at least n times in the last d.
func (t table) often(n int, d time.Duration) string {
	return t.match(fmt.Sprintf("--rcheck%s --hitcount %d", secondsFlag(d), n))
}

func secondsFlag(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return fmt.Sprintf(" --seconds %d", int64(d/time.Second))
}

// reject answers as a port does where nothing listens. The rule must match the protocol.
func (d dialect) reject(p protocol.Proto) string {
	switch {
	case p == protocol.TCP:
		return "-j REJECT --reject-with tcp-reset"
	case d.family == protocol.IPv6:
		return "-j REJECT --reject-with icmp6-port-unreachable"
	}
	return "-j REJECT --reject-with icmp-port-unreachable"
}

// The verdicts that lead to a chain.
const (
	jump = "-j "
	goTo = "-g "
)

// maxComment is the longest text that the comment match keeps.
const maxComment = 255

// comment is the rule's origin, for the reader.
func comment(format string, args ...any) string {
	text := fmt.Sprintf(format, args...)
	if len(text) > maxComment {
		text = text[:maxComment-3] + "..."
	}
	return "-m comment --comment " + quote(text)
}

// quote writes a string as iptables-save does (xtables_save_string in libxtables).
func quote(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_-", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, `'`, `\'`).Replace(s) + `"`
}

// rateLimit matches as many packets as are reported of what strangers can cause in bulk.
var rateLimit = fmt.Sprintf("-m limit --limit %d/sec --limit-burst %d", backend.LogRate, backend.LogBurst)

// report tells the listener of our NFLOG group what happens to the packet, and goes on. There need
// not be a listener.
func report(e backend.Report, profile string, step int) string {
	return fmt.Sprintf("-j NFLOG --nflog-prefix %s --nflog-group %d --nflog-size %d",
		quote(backend.LogPrefix(e, profile, step)), backend.LogGroup, backend.LogSnap)
}
