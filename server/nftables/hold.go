package nftables

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// transactions returns the texts for `nft -f` that make want of what is there. It is
// one, unless ports that stay gated get other keys in the maps of gates, as when a profile
// comes to open a port in the middle of another's range. A packet that is under way while
// the kernel changes over would find neither key, or a chain that is empty yet, and pass. So
// a transaction before shuts such ports for everybody, and one behind lifts that.
//
// A commit that was killed may have left such a chain: the one before makes it anew, and
// the one behind takes it away whether or not it is there.
func transactions(was *Listing, want *Ruleset, extra []string) []string {
	var before, behind, chains strings.Builder
	rest := *was
	for _, h := range holds() {
		keys := contested(was, want, h.gates)
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
		gone := fmt.Sprintf("add chain inet %[1]s %[2]s\nflush chain inet %[1]s %[2]s\ndelete chain inet %[1]s %[2]s\n", TableName, h.chain)
		before.WriteString(gone)
		behind.WriteString(gone)
		rest.Chains = slices.DeleteFunc(slices.Clone(rest.Chains), func(c ListedChain) bool { return c.Name == h.chain })
	}
	main := Transaction(&rest, want, extra)
	if chains.Len() == 0 {
		return []string{main}
	}
	return []string{before.String() + "table inet " + TableName + " {\n" + chains.String() + "}\n", main, behind.String()}
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
// share a port with one that is wanted.
func contested(was *Listing, want *Ruleset, gates string) []string {
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
	for _, name := range []string{gates, gates + rangesSuffix} {
		s := was.Set(name)
		if s == nil {
			continue
		}
		for _, e := range s.Elements {
			switch {
			case e.Key == "": // not known, so it may be any
				return keys
			case !stays[e.text()] && slices.ContainsFunc(keys, func(k string) bool { return overlap(k, e.Key) }):
				contested = append(contested, e.Key)
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
