package nftables

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// transaction returns the text for `nft -f` that makes want of what is there, whole or not at all;
// "" where there is nothing to do. Elements that packets have put into sets stay.
//
// Of the rules that are as they were committed, it changes what differs. All others are written
// anew, or go. Chains in apart are left alone.
func (t *table) transaction(known, wanted map[string]*object, want ruleset, apart []string) string {
	switch {
	case len(want) == 0 && !t.exists:
		return ""
	case len(want) == 0:
		return fmt.Sprintf("delete table inet %s\n", TableName)
	case !t.exists:
		return want.text()
	}
	// Rules go first, then the elements that lead to chains. Only then can chains and sets go.
	var flush, remove []string
	var write ruleset
	for _, name := range slices.Sorted(maps.Keys(t.objects)) {
		is, old, will := t.objects[name], known[name], wanted[name]
		flushed, goes := true, will == nil
		switch {
		case is.anonymous || slices.Contains(apart, is.name) || old != nil && will != nil && old.equal(will):
			continue
		case is.kind == chainKind:
			// A chain gets another hook or policy only as a new chain. Nothing leads to it.
			goes = goes || old == nil && (len(will.head) > 0 || is.hooked)
		case is.kind == limitKind:
			flushed, goes = false, true
		case will != nil && (old != nil || !is.fixed):
			continue
		default:
			flushed, goes = is.fixed, goes || len(known) == 0
		}
		if flushed {
			flush = append(flush, objectCommand("flush", is.kind, is.name))
		}
		if goes {
			remove = append(remove, objectCommand("delete", is.kind, is.name))
		}
	}
	for _, x := range want {
		old := known[x.String()]
		switch {
		case old != nil && old.equal(x):
			continue
		case old != nil && (x.kind == setKind || x.kind == mapKind):
			// Elements that stay are not touched: between their removal and their return a packet would
			// find neither, and pass a gate (seen once in 278,000). For sets of intervals that moment
			// is some milliseconds before Linux 6.17.
			if gone := without(old.elements, x.elements); len(gone) > 0 {
				flush = append(flush, elementCommand("delete", x.name, keysOf(gone)...))
			}
			missing := *x
			if missing.elements = without(x.elements, old.elements); len(missing.elements) == 0 {
				continue
			}
			x = &missing
		}
		write = append(write, x)
	}
	text := lines(flush) + lines(remove)
	if len(write) > 0 {
		text += write.text()
	}
	if text != "" && t.chains[sealChain] != nil {
		text = removal(sealChain) + text
	}
	return text
}

// without returns the texts that are not among the others.
func without(all, others []string) []string {
	has := map[string]bool{}
	for _, o := range others {
		has[o] = true
	}
	return slices.DeleteFunc(slices.Clone(all), func(x string) bool { return has[x] })
}

// objectCommand is a command about an object as a whole.
func objectCommand(verb, kind, name string) string {
	return fmt.Sprintf("%s %s inet %s %s", verb, kind, TableName, name)
}

// removal takes away a chain to which nothing leads, whether it is there or not.
func removal(chain string) string {
	return lines([]string{objectCommand("add", chainKind, chain), objectCommand("flush", chainKind, chain), objectCommand("delete", chainKind, chain)})
}

// transactions returns the texts for `nft -f` that make want of what is there. It is one text, main,
// unless ports that stay gated get other keys in the maps of gates, as when a profile opens a port
// in the middle of another's range, or unless nobody knows which keys are there. A packet that comes
// in while the kernel changes over would find neither key, or an empty chain, and pass. So a
// transaction before shuts such ports for everybody, and one behind lifts that.
//
// A commit that was killed may have left such a chain: before makes it anew, and behind takes it
// away. A table that is dormant is woken first: the kernel takes no new hook in the same
// transaction.
func (t *table) transactions(was, want ruleset) (before []string, main, behind string) {
	known, wanted := was.byName(), want.byName()
	var chains ruleset
	apart := []string{sealChain}
	for _, h := range barriers {
		keys := t.contested(known, wanted, h.gates)
		if len(keys) == 0 {
			continue
		}
		c := &object{kind: chainKind, name: h.chain, head: []string{h.hook}}
		c.noEvents(rule{"return", ""})
		c.add("gates that are about to change", h.where, byPort, "{", strings.Join(keys, ", "), "} drop")
		chains = append(chains, c)
		behind += removal(h.chain)
		apart = append(apart, h.chain)
	}
	if t.dormant && len(want) > 0 {
		before = append(before, fmt.Sprintf("add table inet %s\n", TableName))
	}
	if len(chains) > 0 {
		before = append(before, behind+chains.text())
	}
	return before, t.transaction(known, wanted, want, apart), behind
}

// barrier is a chain that shuts ports for everybody while their gates change.
type barrier struct{ chain, gates, hook, where string }

// barriers are the one in front of the gates at the input, and the one in front of those before
// destination NAT.
var barriers = [...]barrier{
	{"barrier", "gates", "type filter hook input priority filter - 11; policy accept;", ""},
	{"barrier-pre", "pre-gates", "type filter hook prerouting priority mangle - 1; policy accept;", "fib daddr type local"},
}

// contested returns the keys of a map of gates, and of the map of its ranges, that go and share a
// port with one that is wanted. Where nothing is known of the maps, it returns all wanted keys: also
// where a part of the table has a name of another version, and so may the maps.
func (t *table) contested(known, wanted map[string]*object, gates string) []string {
	names := []string{mapKind + " " + gates, mapKind + " " + gates + rangesSuffix}
	var all, contested []string // elements
	for _, name := range names {
		if x := wanted[name]; x != nil {
			all = append(all, x.elements...)
		}
	}
	keys := keysOf(all)
	strange := len(t.strange(known)) > 0
	for _, name := range names {
		switch {
		case t.objects[name] == nil && !strange:
		case t.objects[name] == nil, known[name] == nil:
			return keys
		default:
			for _, key := range keysOf(without(known[name].elements, all)) {
				if slices.ContainsFunc(keys, func(k string) bool { return overlap(k, key) }) {
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
	from, to, _ := strings.Cut(ports, "-")
	first, _ = strconv.Atoi(from) // we have written it
	last, _ = strconv.Atoi(cmp.Or(to, from))
	return proto, first, last
}
