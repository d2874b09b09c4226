package nftables

import (
	"fmt"
	"slices"
	"strings"

	"knockkit/server/backend"
)

// drift says where the table is not the one that its record stands for. Rules are
// told apart by their comments, and maps by the number of their elements: how nft
// prints a rule differs from version to version.
func drift(l *Listing, about *Installed) []string {
	want, err := backend.Compile(about.Profiles, about.Policy)
	if err != nil {
		return []string{fmt.Sprintf("the record of what is installed does not compile: %v", err)}
	}
	var found []string
	say := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }
	rules := Render(about.input(want))
	for _, c := range rules.Chains {
		is := l.Chain(c.Name)
		if is == nil {
			say("chain %s is gone", c.Name)
			continue
		}
		if text := difference(c, is); text != "" && !ownRules(c, is) {
			say("%s", text)
		}
	}
	for _, c := range l.Chains {
		switch isHold := slices.ContainsFunc(holds(), func(h hold) bool { return h.chain == c.Name }); {
		case isHold:
			say("chain %s is left of a commit that was interrupted, and shuts ports for everybody: install again", c.Name)
		case !rules.hasChain(c.Name):
			say("chain %s is not one that we made", c.Name)
		}
	}
	for _, s := range rules.Sets {
		switch is := l.Set(s.Name); {
		case is == nil:
			say("set %s is gone", s.Name)
		case !s.Dynamic && len(is.Elements) != len(s.Elements):
			say("map %s has %d elements, not %d", s.Name, len(is.Elements), len(s.Elements))
		}
	}
	return found
}

// ownRules reports whether a chain is that of a profile's extra rules, which may
// have comments of their own, and has as many rules as it should.
func ownRules(want *Chain, is *ListedChain) bool {
	return ownBodies(want.Name) && len(want.Rules) == len(is.Comments)
}

// ownBodies reports whether a chain is for a profile's extra rules.
func ownBodies(chain string) bool {
	return strings.HasPrefix(chain, openPrefix) || strings.HasPrefix(chain, earlyOpenPrefix)
}

func difference(want *Chain, is *ListedChain) string {
	for i := range max(len(want.Rules), len(is.Comments)) {
		switch {
		case i >= len(is.Comments):
			return fmt.Sprintf("chain %s lacks the rule %q (%s)", want.Name, want.Rules[i].Text, want.Rules[i].Comment)
		case i >= len(want.Rules):
			return fmt.Sprintf("chain %s has a rule more (%s)", want.Name, is.Comments[i])
		case want.Rules[i].Comment != is.Comments[i]:
			return fmt.Sprintf("rule %d of chain %s is not ours (%s)", i+1, want.Name, is.Comments[i])
		}
	}
	return ""
}
