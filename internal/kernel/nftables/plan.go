package nftables

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"knockkit/internal/kernel/backend"
	"knockkit/protocol"
	"knockkit/protocol/format"
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
func (r *reading) Plan(want backend.Want) (backend.Plan, error) {
	v := r.versions(want)
	leases, given := carried(want, v)
	maps.Copy(given, r.givenInUse())
	p := r.replace(input{want, r.about.known, r.about.next, given, v}, leases)
	p.again = func(r *reading) (backend.Plan, error) { return r.Plan(want) }
	return p, nil
}

// replace plans a table in the place of the installed one, and more commands for elements.
func (r *reading) replace(in input, more []string) *plan {
	rules := render(in)
	p := &plan{generation: r.table.generation, marks: r.marks, needs: in.want, sealed: extent{rules: true}}
	p.before, p.main, p.behind = r.table.transactions(r.known, rules)
	if p.main != "" && len(rules) > 0 {
		p.seal = func(t *table) string { return t.sealed(rules).text(rules) }
	}
	p.main += lines(append(r.rewriteLeases(in.want, in.versions), more...))
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

// saved is what can be put back: the record, and the elements of leases, bans and falls. Positions
// stay in the kernel as long as any profile of their family does.
type saved struct {
	Profiles []string // in their canonical form
	Settings settings
	Known    map[string]number
	Versions versions
	Elements map[string][]element // of sets of leases, bans and falls
}

// Save returns the record and the elements as one line of JSON. Errors: why the record cannot be
// read.
func (r *reading) Save() (string, error) {
	if r.unread != nil {
		return "", fmt.Errorf("what is installed could not be put back: %w", r.unread)
	}
	s := saved{Settings: settings{backend.RecordPolicy(r.about.policy), r.about.next}, Known: r.about.known, Versions: r.about.versions, Elements: map[string][]element{}}
	for _, p := range r.about.profiles {
		s.Profiles = append(s.Profiles, format.Canonical(p))
	}
	for name, set := range r.table.sets {
		if len(set.elements) > 0 {
			s.Elements[name] = set.elements
		}
	}
	return backend.JSON(s), nil
}

// PutBack installs the profiles and settings of an earlier Save, by a commit like any other: gates
// that both have stay shut meanwhile, positions and leases are kept. Leases that have ended since,
// with a profile that was removed or changed, or by a shorter `lease`, come back as they were.
func (r *reading) PutBack(text string, ended []backend.Ended) (backend.Plan, error) {
	var then saved
	if err := json.Unmarshal([]byte(text), &then); err != nil {
		return nil, fmt.Errorf("what was saved: %w", err)
	}
	then.forget(ended)
	var profiles []*protocol.Profile
	for _, line := range then.Profiles {
		p, err := format.ParseCanonical(line)
		if err != nil {
			return nil, fmt.Errorf("what was saved: %w", err)
		}
		profiles = append(profiles, p)
	}
	want, err := backend.Compile(profiles, then.Settings.Policy())
	if err != nil {
		return nil, err
	}
	known := map[string]number{} // both: no number has meant two positions
	maps.Copy(known, then.Known)
	maps.Copy(known, r.about.known)
	v := r.versions(want)
	byHand := r.givenInUse()
	for name := range then.Elements {
		if parseSetName(name).what == given {
			byHand[v.rename(name)] = true
		}
	}
	p := r.replace(input{want, known, max(then.Settings.Next, r.about.next), byHand, v}, r.ended(then, profiles, v))
	p.again = func(r *reading) (backend.Plan, error) { return r.PutBack(text, ended) }
	return p, nil
}

// forget takes out the elements that commands have ended since.
func (s *saved) forget(ended []backend.Ended) {
	for set, all := range s.Elements {
		is, profile := parseSetName(set), ""
		if is.leases() {
			profile = is.key[2:]
		}
		left := slices.DeleteFunc(all, func(e element) bool {
			bits := is.bits
			if !is.leases() {
				bits = e.Address.BitLen()
			}
			return backend.IsEnded(ended, profile, netip.PrefixFrom(e.Address, bits))
		})
		if s.Elements[set] = left; len(left) == 0 {
			delete(s.Elements, set)
		}
	}
}

// ended returns the commands that bring back saved elements which are not there any more: those of
// sets that are gone, and of leases whose time was changed or that were not the profile's meanwhile.
// What was a lease meanwhile and has ended by itself, used up or given back, stays ended.
func (r *reading) ended(then saved, profiles []*protocol.Profile, v versions) []string {
	suspended, retimed := map[string]bool{}, map[string]bool{} // whose leases were none, or had another time
	for _, p := range profiles {
		now := r.about.profile(p.Name)
		for _, f := range protocol.Families() {
			key := leaseKey(p, f)
			suspended[key] = now == nil || backend.LeasesEnd(p, now, f) != ""
			retimed[key] = now != nil && now.Lease != p.Lease && !p.Once
		}
	}
	var all []string
	for _, set := range slices.Sorted(maps.Keys(then.Elements)) {
		is, name := parseSetName(set), v.rename(set)
		there, meanwhile := r.table.addresses(name), r.table.addresses(r.about.versions.rename(set))
		if !is.leases() && there != nil {
			continue
		}
		for _, e := range then.Elements[set] {
			stays := !is.leases() || suspended[is.key] || retimed[is.key] && is.what == opened || meanwhile[e.Address]
			if stays && !there[e.Address] && (e.Timeout == 0 || e.Expires >= time.Second) { // else about to end
				all = append(all, elementCommand("add", name, e.Address.String()+times(e.Timeout, e.Expires)))
			}
		}
	}
	return all
}

// addresses returns the addresses in a set; nil where there is no such set.
func (t *table) addresses(set string) map[netip.Addr]bool {
	s := t.sets[set]
	if s == nil {
		return nil
	}
	all := map[netip.Addr]bool{}
	for _, e := range s.elements {
		all[e.Address] = true
	}
	return all
}
