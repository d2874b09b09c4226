package nftables

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// drift says where the table is not the one that its record stands for: a part of it is
// gone, or has not the mark that the seal has for it. What has is known to be in the kernel.
// marks is the seal, nil where there is none.
func (t *table) drift(rules ruleset, marks seal) (found []string, known seal) {
	say := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }
	if t.dormant {
		say("the table is dormant: nothing is gated")
	}
	known = seal{}
	for _, x := range rules {
		name := x.String()
		is := t.parts[name]
		if is == nil {
			say("%s is gone", x)
			continue
		}
		if mark := t.mark(x, is); marks[name] == mark {
			known[name] = mark
			continue
		}
		text := difference(x, is)
		if text == "" && marks != nil {
			text = fmt.Sprintf("%s is not as this version of knockd has committed it", x)
		}
		if text != "" {
			say("%s", text)
		}
	}
	wanted := rules.byName()
	for _, name := range slices.Sorted(maps.Keys(t.parts)) {
		switch isHold := slices.ContainsFunc(holds[:], func(h hold) bool { return chainKind+" "+h.chain == name }); {
		case isHold:
			say("%s is left of a commit that was interrupted, and shuts ports for everybody: install again", name)
		case wanted[name] == nil && name != chainKind+" "+sealChain && !t.parts[name].anonymous:
			say("%s is not one that we made", name)
		}
	}
	if marks == nil && len(rules) > 0 {
		say("whether the rules are as they were committed is not known, as after a commit that was interrupted: install again")
	}
	return found, known
}

// ownBodies reports whether a chain is for a profile's extra rules, which may have
// comments of their own.
func ownBodies(chain string) bool {
	return strings.HasPrefix(chain, openPrefix) || strings.HasPrefix(chain, earlyOpenPrefix)
}

// difference says where a chain has another rule than it should, by the rules' comments, or that
// a set has another number of elements; "" where those are the same.
func difference(want *thing, is *part) string {
	if !want.dynamic && len(want.elements) != len(is.raw) {
		return fmt.Sprintf("%s has %d elements, not %d", want, len(is.raw), len(want.elements))
	}
	if ownBodies(want.name) && len(want.rules) == len(is.comments) {
		return ""
	}
	inBrackets := func(comment string) string {
		if comment == "" {
			return ""
		}
		return " (" + comment + ")"
	}
	for i := range max(len(want.rules), len(is.comments)) {
		switch {
		case i >= len(is.comments):
			return fmt.Sprintf("%s lacks the rule %q%s", want, want.rules[i].text, inBrackets(want.rules[i].comment))
		case i >= len(want.rules):
			return fmt.Sprintf("%s has a rule more%s", want, inBrackets(is.comments[i]))
		case want.rules[i].comment != is.comments[i]:
			return fmt.Sprintf("rule %d of %s is not ours%s", i+1, want, inBrackets(is.comments[i]))
		}
	}
	return ""
}
