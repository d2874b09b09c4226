package nftables

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"knockkit/protocol"
	"knockkit/server/backend"
)

// plan is what a commit does: texts for nft in their order, of which those before and behind
// shut ports while their gates change, where that has to be. It is pure.
type plan struct {
	before       []string
	main, behind string

	generation uint32       // of the reading that it is made from
	marks      seal         // of what that knows to be in the kernel
	needs      backend.Want // what the kernel has to be able to do

	// seal returns the text that seals the rules once the kernel has them, "" where they cannot be. It is
	// given a reading of what sealed says. nil: the plan changes elements only, or leaves no rules.
	seal   func(t *table) string
	sealed extent

	again func(r *reading) (*plan, error) // makes the plan from another reading; nil: it is the same from any
}

// Texts returns what nft is fed with, but for the seal.
func (p *plan) Texts() []backend.Text {
	var texts []backend.Text
	for _, text := range append(slices.Clone(p.before), p.main, p.behind) {
		if text != "" {
			texts = append(texts, backend.Text{Family: protocol.Both, Tool: command, Text: text})
		}
	}
	return texts
}

// Plan makes want what is installed.
func (r *reading) Plan(want backend.Want) (backend.Plan, error) { return r.plan(want) }

func (r *reading) plan(want backend.Want) (*plan, error) {
	v := r.versions(want)
	leases, given := carried(want, v)
	maps.Copy(given, r.held())
	p := r.replace(Input{Want: want, Known: r.about.known, Next: r.about.next, Given: given, Versions: v},
		slices.Concat(r.rewriteLeases(want, v), leases))
	p.again = func(r *reading) (*plan, error) { return r.plan(want) }
	return p, nil
}

// replace plans a table in the place of the one that is there, and commands for elements.
func (r *reading) replace(in Input, elements []string) *plan {
	rules := Render(in)
	p := &plan{generation: r.table.generation, marks: r.marks, needs: in.Want, sealed: extent{rules: true}}
	p.before, p.main, p.behind = r.table.transactions(r.known, rules)
	if p.main != "" && !rules.Empty() {
		things := rules.things()
		p.seal = func(t *table) string { return t.sealed(things).text(things) }
	}
	p.main += lines(elements)
	return p
}

// held returns the sets of leases given by hand that hold anybody.
func (r *reading) held() map[string]bool {
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
