package nftables

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"knockkit/internal/kernel/backend"
	"knockkit/protocol"
)

// plan is what a commit does: texts for nft in their order. Those before and behind shut ports while
// their gates change, where that has to be. It is pure.
type plan struct {
	before       []string
	main, behind string

	generation uint32       // the kernel's count in the reading that it is made from
	marks      seal         // the marks of the objects that are as they were committed
	needs      backend.Want // the automata, for what the kernel has to be able to do

	// seal returns the text that seals the rules, given a reading of the extent sealed after the commit; ""
	// where they cannot be sealed. nil: the plan changes elements only, or leaves no rules.
	seal   func(t *table) string
	sealed extent

	again func(r *reading) (backend.Plan, error) // makes the same plan from another reading
}

// Texts returns the texts for nft, without the seal.
func (p *plan) Texts() []backend.Text {
	var texts []backend.Text
	for _, text := range append(slices.Clone(p.before), p.main, p.behind) {
		if text != "" {
			texts = append(texts, backend.Text{Family: protocol.Both, Tool: command, Text: text})
		}
	}
	return texts
}

// Plan makes the wanted profiles the installed ones.
func (r *reading) Plan(want backend.Want) (backend.Plan, error) { return r.plan(want, false), nil }

// plan does that; again says that the rules are in.
func (r *reading) plan(want backend.Want, again bool) *plan {
	v := r.versions(want)
	leases, given := carried(want, v)
	maps.Copy(given, r.givenInUse())
	in := input{want: want, known: r.about.known, next: r.about.next, given: given, versions: v, trials: r.about.trials,
		signedNumbers: r.about.signedNumbers, nextSigned: r.about.nextSigned}
	in.numberSigned()
	switch {
	case want.Trial && again:
		in.kept = r.about.kept
	case want.Trial:
		var copies []string
		in.kept, copies = r.keep(in)
		leases = append(leases, copies...)
	}
	leases = append(r.rewriteLeases(want, v, false), leases...)
	leases = append(leases, r.keepParts(want, v, false)...)
	leases = append(leases, r.carriedParts(want.Carried, func(s backend.Source) *protocol.Profile {
		return protocol.Find(want.Of(protocol.FamilyOf(s.Address.Addr())).Profiles, s.Profile)
	}, in.signedNumbers)...)
	p := r.replace(in, leases)
	if want.Trial && !again && p.main != "" {
		in.trials++
		p = r.replace(in, leases)
	}
	p.again = func(r *reading) (backend.Plan, error) { return r.plan(want, true), nil }
	return p
}

// replace plans a table in the place of the installed one, and more commands for elements.
func (r *reading) replace(in input, more []string) *plan {
	rules := render(in)
	p := &plan{generation: r.table.generation, marks: r.marks, needs: in.want, sealed: extent{rules: true}}
	p.before, p.main, p.behind = r.table.transactions(r.known, rules)
	if p.main != "" && len(rules) > 0 {
		p.seal = func(t *table) string { return t.sealed(rules).text(rules) }
	}
	if r.unread != nil {
		more = append(more, r.forgetKeys(rules)...)
	}
	p.main += lines(more)
	return p
}

// forgetKeys returns the commands that empty the sets of signed profiles' keys. Without the record,
// nobody knows of which profiles their numbers are.
func (r *reading) forgetKeys(rules ruleset) (all []string) {
	for _, x := range rules {
		switch is := r.table.sets[x.name]; {
		case is == nil || x.kind == chainKind || x.kind == limitKind:
		case slices.Contains([]string{tokensMap, usersSet, formerSet, whoPrefix + "4", whoPrefix + "6"}, x.name):
			all = append(all, objectCommand("flush", x.kind, x.name))
		}
	}
	return all
}

// elementsOnly is a plan of commands for elements.
func (r *reading) elementsOnly(commands string) *plan {
	p := &plan{generation: r.table.generation, main: commands}
	p.again = func(r *reading) (backend.Plan, error) {
		same := *p
		same.generation = r.table.generation
		return &same, nil
	}
	return p
}

// givenInUse returns the sets of leases given by hand that have an element.
func (r *reading) givenInUse() map[string]bool {
	some := map[string]bool{}
	for name := range r.about.given {
		if len(r.table.sets[name].elements) > 0 {
			some[name] = true
		}
	}
	return some
}

// elementCommand is a command for elements of a set.
func elementCommand(verb, set string, elements ...string) string {
	return fmt.Sprintf("%s element inet %s %s { %s }", verb, TableName, set, strings.Join(elements, ", "))
}

func lines(all []string) string {
	if len(all) == 0 {
		return ""
	}
	return strings.Join(all, "\n") + "\n"
}
