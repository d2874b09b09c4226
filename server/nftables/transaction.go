package nftables

import (
	"fmt"
	"strings"
)

// Transaction returns the text for `nft -f` that makes want of what is there:
// rules and fixed elements are replaced, what packets have put into sets stays,
// and extra (elements to rewrite) goes last. All of it happens at once or not at
// all. The text is "" when there is nothing to do.
func Transaction(was *Listing, want *Ruleset, extra []string) string {
	if want.Empty() {
		if !was.Exists {
			return ""
		}
		return fmt.Sprintf("delete table inet %s\n", TableName)
	}
	var b strings.Builder
	if was.Exists {
		replace(&b, was, want)
	}
	b.WriteString(want.Text())
	for _, line := range extra {
		b.WriteString(line + "\n")
	}
	return b.String()
}

// replace empties what is replaced, and deletes what is not wanted any more. Rules
// go first, then the elements that point to chains: only then can chains go.
func replace(b *strings.Builder, was *Listing, want *Ruleset) {
	object := func(verb, kind, name string) { fmt.Fprintf(b, "%s %s inet %s %s\n", verb, kind, TableName, name) }
	for _, c := range was.Chains {
		object("flush", "chain", c.Name)
	}
	for _, s := range was.Sets {
		if s.Fixed {
			object("flush", s.kind(), s.Name)
		}
	}
	for _, c := range was.Chains {
		if !want.hasChain(c.Name) {
			object("delete", "chain", c.Name)
		}
	}
	for _, s := range was.Sets {
		if !want.hasSet(s.Name) {
			object("delete", s.kind(), s.Name)
		}
	}
}
