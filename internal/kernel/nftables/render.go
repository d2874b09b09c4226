package nftables

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"knockkit/internal/kernel/backend"
	"knockkit/protocol"
)

// input is what the rules are made from.
type input struct {
	want     backend.Want
	known    map[string]number // numbers of positions in the kernel, by their knocks
	next     number            // the first number that was never used; 0 is 1
	given    map[string]bool   // sets of leases given by hand that are wanted
	versions versions
	trials   int // how many trials have been committed, so that each has a number
	kept     kept

	signedNumbers map[string]uint16 // numbers of signed profiles in the kernel, by name
	nextSigned    uint16            // the first that was never used; 0 is 1
}

// renderer is one run of render.
type renderer struct {
	input
	others, chains ruleset
	byName         map[string]*object // chains

	families []protocol.Family // that have profiles, or leases of a trial's undo
	hand     map[string][]int  // prefix lengths of leases given by hand, by leaseKey
}

// render returns the table for the automata of both families. It is pure: the
// same input gives the same table. With no profiles it is empty.
func render(in input) ruleset {
	r := &renderer{input: in, byName: map[string]*object{}, hand: map[string][]int{}}
	r.next, r.known = max(in.next, 1), map[string]number{}
	maps.Copy(r.known, in.known)
	r.signedNumbers = map[string]uint16{}
	for _, p := range r.profiles() {
		if n, ok := in.signedNumbers[p.Name]; ok && p.Signed != nil {
			r.signedNumbers[p.Name] = n
		}
	}
	for _, f := range protocol.Families() {
		if len(in.want.Of(f).Profiles) > 0 || in.kept.in(f) {
			r.families = append(r.families, f)
		}
	}
	if len(r.families) == 0 {
		return nil
	}
	for _, f := range r.families {
		for _, i := range stays(in.want.Of(f)) {
			r.number(in.want.Of(f), i)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(in.given)) {
		if s := parseSetName(name); s.version == max(in.versions[s.key], 1) { // a set of another version goes
			r.hand[s.key] = append(r.hand[s.key], s.bits)
		}
	}
	r.others = append(r.others, deniedLimit, firstLimit)
	r.sets()
	r.signed()
	r.events()
	for _, f := range r.families {
		r.progress(f)
	}
	r.over()
	r.states()
	r.gates()
	r.prerouting()
	r.about()
	return append(r.others, r.chains...)
}

// number returns the number of a position: the one that it has, else a new one.
func (r *renderer) number(a *protocol.Automaton, i int) number {
	path := protocol.PathText(a.States[i].Path)
	if _, ok := r.known[path]; !ok {
		r.known[path] = r.next
		r.next++
	}
	return r.known[path]
}

// profiles returns the profiles of any family, by name.
func (r *renderer) profiles() []*protocol.Profile {
	all := slices.Concat(r.want.Of(protocol.IPv4).Profiles, r.want.Of(protocol.IPv6).Profiles)
	slices.SortFunc(all, protocol.ByName)
	return slices.CompactFunc(all, func(x, y *protocol.Profile) bool { return x.Name == y.Name })
}

// field is a field of a packet's IP header; "ip saddr" is a source as a key.
func field(name string, f protocol.Family) string {
	return map[protocol.Family]string{protocol.IPv4: "ip ", protocol.IPv6: "ip6 "}[f] + name
}

func saddr(f protocol.Family) string { return field("saddr", f) }

// echo matches the knock icmp of a family.
func echo(f protocol.Family) string {
	return map[protocol.Family]string{protocol.IPv4: "icmp", protocol.IPv6: "icmpv6"}[f] + " type echo-request"
}

// scope matches the packets of a scope; "" matches all.
func scope(s protocol.Scope, f protocol.Family) string {
	var parts []string
	if s.Interface != "" {
		parts = append(parts, `iifname "`+s.Interface+`"`)
	}
	if len(s.To) > 0 {
		to, _ := prefixes(s.To, f)
		parts = append(parts, field("daddr", f)+to)
	}
	return strings.Join(parts, " ")
}

// from matches a source that may open the profile. ok is false where no source of the family may.
func from(p *protocol.Profile, f protocol.Family) (match string, ok bool) {
	if len(p.From) == 0 {
		return "", true
	}
	all, ok := prefixes(p.From, f)
	return saddr(f) + all, ok
}

// prefixes is a set of the prefixes of a family; ok is false where there is none.
func prefixes(all []netip.Prefix, f protocol.Family) (set string, ok bool) {
	var texts []string
	for _, p := range protocol.PrefixesIn(all, f) {
		texts = append(texts, p.String())
	}
	return " { " + strings.Join(texts, ", ") + " }", len(texts) > 0
}

// times is the time of an element in all, and how much of it is left; "" is no end.
func times(whole, left time.Duration) string {
	if whole == 0 {
		return ""
	}
	return timeout(whole) + " expires " + protocol.FormatDuration(left)
}

// timeout is how long an element lives; "" is no end.
func timeout(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return " timeout " + protocol.FormatDuration(d)
}

// isSYN and notSYN tell a TCP packet that opens a connection from all others.
const (
	isSYN  = "tcp flags & (fin | syn | rst | ack) == syn"
	notSYN = "tcp flags & (fin | syn | rst | ack) != syn"
)

// loopback matches what this host sends to itself. A synproxy in front of our rules sends the SYNs
// of strangers over loopback too, but with their own source addresses.
const loopback = `iif "lo" fib saddr type local`

// unanswered matches the packets of a connection that conntrack has seen answered, but without an
// ACK to the answer: a SYN is the first one, sent again.
const unanswered = "ct state established ct status & assured == 0"

// noEvents adds the rules for packets that are no events: loopback, established connections (for
// which the caller says what happens), and ICMP errors about connections.
func (x *object) noEvents(established ...rule) { x.noEventsBut(func() {}, established...) }

// noEventsBut is noEvents with rules for pings and datagrams of which conntrack is not asked.
func (x *object) noEventsBut(but func(), established ...rule) {
	x.add("loopback is no event", loopback, "return")
	for _, e := range established {
		// A SYN is not taken for established: conntrack keeps the entry of a connection that the client
		// never ended, and counts a new connection from the same port as part of it.
		x.add(e.comment, notSYN+" ct state established", e.text)
	}
	but()
	for _, e := range established {
		x.add(e.comment, "meta l4proto != tcp ct state established", e.text)
	}
	// Related packets other than errors begin connections that a conntrack helper expects, to any port.
	for _, proto := range []string{"icmp", "ipv6-icmp"} { // each costs a packet less than a set of both
		x.add("an error about a connection: no event", "meta l4proto", proto, "ct state related return")
	}
}

// passEstablished lets the packets of established connections pass.
func passEstablished() rule { return rule{"return", "established: no event"} }

// rateLimit matches as many packets as one rule reports of what strangers can cause in bulk.
var rateLimit = fmt.Sprintf("limit rate %d/second burst %d packets", backend.LogRate, backend.LogBurst)

// The limits of what a stranger's packet can cause at every profile. A limit in
// each profile's chain is memory of its own to touch for each packet: with 1,000
// profiles a gated port cost 1.35 times what it does with one, and 1.15 with these.
// Where a source must have made a right knock before, rules have a limit each.
var (
	deniedLimit = sharedLimit("denied")
	firstLimit  = sharedLimit("first-knock")
)

func sharedLimit(name string) *object {
	rate := fmt.Sprintf("rate %d/second burst %d packets", backend.LogRateShared, backend.LogBurstShared)
	return &object{kind: limitKind, name: name, head: []string{rate}}
}

// match lets packets within a limit through.
func (x *object) match() string { return fmt.Sprintf("limit name %q", x.name) }

// report tells the listener of our NFLOG group what happens to the packet, and goes on. There need
// not be a listener.
func report(e backend.Report, profile string, step int) string {
	return fmt.Sprintf("log prefix \"%s\" group %d snaplen %d", backend.LogPrefix(e, profile, step), backend.LogGroup, backend.LogSnap)
}
