package iptables

import (
	"fmt"
	"slices"
	"strings"
)

// transaction returns the text for `iptables-restore --noflush` that makes want of what is there:
// our chains only, and one jump at the top of each chain that leads to them. Chains that stay are
// changed in the same transaction, so that the recency tables that they name live on with their
// entries; chains that are right already are not mentioned. An empty want removes everything. The
// text is "" when there is nothing to do.
//
// It is one transaction, and a second one for the table mangle where a profile has its gate there. A
// removal begins with mangle: if it is killed in between, the record of what is still there remains.
func transaction(was *saved, want *ruleset) string {
	order := []int{0, 1}
	if want.empty() {
		slices.Reverse(order)
	}
	var b strings.Builder
	for _, n := range order {
		bases[n].replace(&b, was, was.calls[n], want)
	}
	return b.String()
}

// endOfTable ends the transaction of one table of the kernel's.
const endOfTable = "COMMIT\n"

// replace writes the transaction for the base's table.
func (b base) replace(text *strings.Builder, was *saved, is calls, want *ruleset) {
	var declared, gone, lines []string
	chains := b.chains(want)
	for _, c := range chains {
		old := was.ours.chain(c.Name)
		if old != nil && slices.Equal(old.Rules, c.Rules) {
			continue
		}
		if old != nil && (!was.guessed || c.Name == chainAbout) {
			if edits, ok := edit(c.Name, old.Rules, c.Rules); ok {
				lines = append(lines, edits...)
				continue
			}
		}
		declared = append(declared, c.Name) // empties it
		for _, rule := range c.Rules {
			lines = append(lines, "-A "+c.Name+" "+rule)
		}
	}
	for _, c := range b.chains(was.ours) {
		if want.chain(c.Name) == nil {
			gone = append(gone, c.Name)
			declared = append(declared, c.Name) // or rules of ours would point into others
		}
	}
	lines = append(lines, b.call(is, len(chains) > 0)...)
	if len(declared)+len(lines) == 0 {
		return
	}
	fmt.Fprintf(text, "*%s\n", b.table)
	// iptables-nft keeps chains in a list by name, and looks for a new one's place from
	// the front: from Z to A it finds it at once, which halves the time of 1,000 profiles.
	slices.Sort(declared)
	for _, name := range slices.Backward(declared) {
		text.WriteString(":" + name + " - [0:0]\n")
	}
	for _, line := range lines {
		text.WriteString(line + "\n")
	}
	slices.Sort(gone)
	for _, name := range gone {
		text.WriteString("-X " + name + "\n")
	}
	text.WriteString(endOfTable)
}

// call returns the commands after which the kernel's chain jumps to ours once, at the top, or not at
// all.
func (b base) call(is calls, wanted bool) []string {
	if wanted && is.first == 1 && is.n == 1 {
		return nil
	}
	// -D takes the first: take all, and put one on top.
	lines := slices.Repeat([]string{"-D " + b.chain + " " + jump + b.ours}, is.n)
	if wanted {
		lines = append(lines, "-I "+b.chain+" 1 "+jump+b.ours)
	}
	return lines
}

// longChain is from how many rules on a chain is edited and not filled anew: the record, and the
// list of all positions.
const longChain = 64

// edit returns the commands that turn the rules of a long chain into others, by their numbers. ok is
// false where filling the chain anew takes no more commands.
func edit(name string, is, want []string) (commands []string, ok bool) {
	if len(want) < longChain {
		return nil, false
	}
	wantedAt := make(map[string]int, len(want)) // where a rule is wanted, from 1
	for i, rule := range want {
		wantedAt[rule] = i + 1
	}
	var gone []string
	stays := make([]bool, len(want)+1)
	last := 0
	for i, rule := range is {
		if at := wantedAt[rule]; at > last {
			stays[at], last = true, at
		} else {
			gone = append(gone, fmt.Sprintf("-D %s %d", name, i+1))
		}
	}
	slices.Reverse(gone) // so that the numbers hold
	commands = gone
	for i, rule := range want {
		if !stays[i+1] {
			commands = append(commands, fmt.Sprintf("-I %s %d %s", name, i+1, rule))
		}
	}
	return commands, len(commands) < len(want)/2
}

// text returns the ruleset as it would be committed where nothing is installed.
func (r *ruleset) text() string {
	return transaction(&saved{ours: &ruleset{Family: r.Family}}, r)
}
