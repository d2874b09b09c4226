package nftables

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// transactions returns the texts for `nft -f` that make want of what is there. It is
// one, unless ports that stay gated get other keys in the maps of gates, as when a profile
// comes to open a port in the middle of another's range, or unless it is not known which keys
// are there. A packet that is under way while the kernel changes over would find neither key,
// or a chain that is empty yet, and pass. So a transaction before shuts such ports for
// everybody, and one behind lifts that; behind is "" else.
//
// A commit that was killed may have left such a chain: the one before makes it anew, and
// the one behind takes it away whether or not it is there. A table that is dormant is woken
// first: the kernel takes no new hook in the same transaction.
func (t *table) transactions(was, want *Ruleset) (before []string, main, behind string) {
	var chains strings.Builder
	var apart []string
	for _, h := range holds() {
		keys := t.contested(was, want, h.gates)
		if len(keys) == 0 {
			continue
		}
		c := Chain{Name: h.chain, Hook: h.hook}
		c.add("", loopback, "return")
		for _, packet := range established() {
			c.add("", packet, "return")
		}
		related(&c)
		c.add("gates that are about to change", h.where, byPort, "{", strings.Join(keys, ", "), "} drop")
		c.write(&chains)
		behind += removal(h.chain)
		apart = append(apart, h.chain)
	}
	if t.dormant && !want.Empty() {
		before = append(before, fmt.Sprintf("add table inet %s\n", TableName))
	}
	if len(apart) > 0 {
		before = append(before, behind+tableOf(func(b *strings.Builder) { b.WriteString(chains.String()) }))
	}
	return before, t.transaction(was, want, apart), behind
}

// hold is a chain that shuts ports while their gates change.
type hold struct{ chain, gates, hook, where string }

// holds are those in front of the gates of the input, and of those before destination NAT.
func holds() []hold {
	return []hold{
		{"hold", "gates", "type filter hook input priority filter - 11; policy accept;", ""},
		{"hold-early", "early-gates", "type filter hook prerouting priority mangle - 1; policy accept;", "fib daddr type local"},
	}
}

// contested returns the keys of a map of gates, and of that of its ranges, that go and
// share a port with one that is wanted; of maps of which nothing is known, all that are wanted.
func (t *table) contested(was, want *Ruleset, gates string) []string {
	stays := map[string]bool{}
	var keys, contested []string
	for _, s := range want.Sets {
		if s.Name == gates || s.Name == gates+rangesSuffix {
			keys = append(keys, keysOf(s.Elements)...)
			for _, e := range s.Elements {
				stays[e] = true
			}
		}
	}
	known := was.setsByName()
	for _, name := range []string{gates, gates + rangesSuffix} {
		switch s := known[name]; {
		case t.sets[name] == nil:
		case s == nil:
			return keys
		default:
			for _, e := range s.Elements {
				if key, _, _ := strings.Cut(e, " : "); !stays[e] && slices.ContainsFunc(keys, func(k string) bool { return overlap(k, key) }) {
					contested = append(contested, key)
				}
			}
		}
	}
	return contested
}

// keysOf returns elements without their verdicts.
func keysOf(elements []string) []string {
	keys := make([]string, len(elements))
	for i, e := range elements {
		keys[i], _, _ = strings.Cut(e, " : ")
	}
	return keys
}

// overlap reports whether two keys, as "tcp . 80-90", share a port.
func overlap(x, y string) bool {
	protoX, firstX, lastX := portsOf(x)
	protoY, firstY, lastY := portsOf(y)
	return protoX == protoY && firstX <= lastY && firstY <= lastX
}

func portsOf(key string) (proto string, first, last int) {
	proto, ports, _ := strings.Cut(key, " . ")
	from, to, isRange := strings.Cut(ports, "-")
	first, _ = strconv.Atoi(from) // we have written it
	if !isRange {
		return proto, first, first
	}
	last, _ = strconv.Atoi(to)
	return proto, first, last
}
