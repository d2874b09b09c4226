package nftables

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// transaction returns the text for `nft -f` that makes want of what is there, at once or
// not at all; "" where there is nothing to do. What packets have put into sets stays.
//
// Of was, the rules that are known to be in the kernel, it changes what differs. All else is
// written anew, or goes. Chains in apart are left alone.
func (t *table) transaction(was, want *Ruleset, apart []string) string {
	switch {
	case want.Empty() && !t.exists:
		return ""
	case want.Empty():
		return fmt.Sprintf("delete table inet %s\n", TableName)
	case !t.exists:
		return want.Text()
	}
	e := edit{flush: &strings.Builder{}, remove: &strings.Builder{}}
	e.chains(t, was, want, append(apart, sealChain))
	e.sets(t, was, want)
	e.limits(t, was, want)
	text := e.flush.String() + e.remove.String()
	if !e.write.nothing() {
		text += e.write.Text()
	}
	if text != "" && t.chains[sealChain] != nil {
		text = removal(sealChain) + text
	}
	return text
}

// edit is a transaction in the making: rules go first, then the elements that point to chains:
// only then can chains go, and sets.
type edit struct {
	flush, remove *strings.Builder
	write         Ruleset
}

// object is a command about a thing as a whole.
func object(b *strings.Builder, verb, kind, name string) {
	fmt.Fprintf(b, "%s %s inet %s %s\n", verb, kind, TableName, name)
}

// removal takes a chain away that may not be there, and to which nothing leads.
func removal(chain string) string {
	var b strings.Builder
	for _, verb := range []string{"add", "flush", "delete"} {
		object(&b, verb, "chain", chain)
	}
	return b.String()
}

func (e *edit) chains(t *table, was, want *Ruleset, apart []string) {
	known, wanted := was.chainsByName(), want.chainsByName()
	same := func(name string) bool {
		return t.chains[name] != nil && known[name] != nil && wanted[name] != nil && slices.Equal(known[name].Rules, wanted[name].Rules)
	}
	for _, name := range slices.Sorted(maps.Keys(t.chains)) {
		if same(name) || slices.Contains(apart, name) {
			continue
		}
		object(e.flush, "flush", chainKind, name)
		// To another hook, or policy, a chain can only come as a new one. Nothing leads to it.
		if c := wanted[name]; c == nil || known[name] == nil && (c.Hook != "" || t.chains[name].hooked) {
			object(e.remove, "delete", chainKind, name)
		}
	}
	for _, c := range want.Chains {
		if !same(c.Name) {
			e.write.Chains = append(e.write.Chains, c)
		}
	}
}

func (e *edit) sets(t *table, was, want *Ruleset) {
	known, wanted := was.setsByName(), want.setsByName()
	for _, name := range slices.Sorted(maps.Keys(t.sets)) {
		is := t.sets[name]
		if is.anonymous || wanted[name] != nil && (known[name] != nil || !is.fixed) {
			continue
		}
		if is.fixed {
			object(e.flush, "flush", is.kind(), name)
		}
		if wanted[name] == nil || was.nothing() {
			object(e.remove, "delete", is.kind(), name)
		}
	}
	for _, s := range want.Sets {
		if old := known[s.Name]; old != nil && t.sets[s.Name] != nil {
			if s = e.change(old, s); s == nil {
				continue
			}
		}
		e.write.Sets = append(e.write.Sets, s)
	}
}

// change deletes the elements that are not wanted, and returns the set with those that
// are missing; nil: none are. What stays is not touched: in the moment between its going and its
// coming back a packet finds neither, and passes a gate (seen once in 278,000). For sets
// of intervals the moment is some milliseconds before Linux 6.17.
func (e *edit) change(old, want *Set) *Set {
	without := func(all, others []string) []string {
		has := map[string]bool{}
		for _, o := range others {
			has[o] = true
		}
		return slices.DeleteFunc(slices.Clone(all), func(x string) bool { return has[x] })
	}
	if gone := without(old.Elements, want.Elements); len(gone) > 0 {
		e.flush.WriteString(lines([]string{elementCommand("delete", want.Name, keysOf(gone)...)}))
	}
	missing := *want
	missing.Elements = without(want.Elements, old.Elements)
	if len(missing.Elements) == 0 {
		return nil
	}
	return &missing
}

func (e *edit) limits(t *table, was, want *Ruleset) {
	for _, l := range want.Limits {
		switch known := slices.Contains(was.Limits, l); {
		case t.limits[l.Name] != nil && known:
			continue
		case t.limits[l.Name] != nil:
			object(e.remove, "delete", limitKind, l.Name)
		}
		e.write.Limits = append(e.write.Limits, l)
	}
}

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
