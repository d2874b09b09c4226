package nftables

import (
	"fmt"
	"maps"
	"slices"
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
