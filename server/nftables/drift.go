package nftables

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// drift says where the table is not the one that its record stands for: a part of it is
// gone, or has not the mark that the seal has for it. What has is known to be in the kernel.
// things are those of the rules; marks is the seal, nil where there is none.
func (t *table) drift(rules *Ruleset, things []thing, marks seal) (found []string, known seal) {
	say := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }
	if t.dormant {
		say("the table is dormant: nothing is gated")
	}
	known = seal{}
	chains, sets := rules.chainsByName(), rules.setsByName()
	for _, x := range things {
		if !t.has(x) {
			say("%s is gone", x)
			continue
		}
		if mark := t.mark(x); marks[x.String()] == mark {
			known[x.String()] = mark
			continue
		}
		text := ""
		if x.kind == chainKind {
			text = difference(chains[x.name], t.chains[x.name])
		} else if s, is := sets[x.name], t.sets[x.name]; s != nil && !s.Dynamic && len(s.Elements) != len(is.raw) {
			text = fmt.Sprintf("%s has %d elements, not %d", x, len(is.raw), len(s.Elements))
		}
		if text == "" && marks != nil {
			text = fmt.Sprintf("%s is not as this version of knockd has committed it", x)
		}
		if text != "" {
			say("%s", text)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(t.chains)) {
		switch isHold := slices.ContainsFunc(holds(), func(h hold) bool { return h.chain == name }); {
		case isHold:
			say("chain %s is left of a commit that was interrupted, and shuts ports for everybody: install again", name)
		case chains[name] == nil && name != sealChain:
			say("chain %s is not one that we made", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(t.sets)) {
		if s := t.sets[name]; sets[name] == nil && !s.anonymous {
			say("%s %s is not one that we made", s.kind(), name)
		}
	}
	if marks == nil && !rules.Empty() {
		say("whether the rules are as they were committed is not known, as after a commit that was interrupted: install again")
	}
	return found, known
}

// ownBodies reports whether a chain is for a profile's extra rules, which may have
// comments of their own.
func ownBodies(chain string) bool {
	return strings.HasPrefix(chain, openPrefix) || strings.HasPrefix(chain, earlyOpenPrefix)
}

// difference says where a chain has another rule than it should, by the rules' comments;
// "" where those are the same.
func difference(want *Chain, is *chain) string {
	if ownBodies(want.Name) && len(want.Rules) == len(is.comments) {
		return ""
	}
	for i := range max(len(want.Rules), len(is.comments)) {
		switch {
		case i >= len(is.comments):
			return fmt.Sprintf("chain %s lacks the rule %q%s", want.Name, want.Rules[i].Text, inBrackets(want.Rules[i].Comment))
		case i >= len(want.Rules):
			return fmt.Sprintf("chain %s has a rule more%s", want.Name, inBrackets(is.comments[i]))
		case want.Rules[i].Comment != is.comments[i]:
			return fmt.Sprintf("rule %d of chain %s is not ours%s", i+1, want.Name, inBrackets(is.comments[i]))
		}
	}
	return ""
}

func inBrackets(comment string) string {
	if comment == "" {
		return ""
	}
	return " (" + comment + ")"
}
