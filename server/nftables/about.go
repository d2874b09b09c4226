package nftables

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"knockkit/protocol"
	"knockkit/server/backend"
)

// maxComment is what a rule's comment holds, with a margin.
const maxComment = 120

// about fills the chain that no packet reaches. It says in comments what is
// installed, so that the kernel is the only place that knows.
func (r *render) about() {
	c := r.chain(aboutChain)
	c.record(aboutSettings, r.settingsText())
	for _, p := range r.profiles() {
		c.record(aboutProfile, p.Canonical())
	}
}

// The chain of the record, and what its comments begin with.
const (
	aboutChain    = "about"
	aboutSettings = "settings"
	aboutProfile  = "profile"
)

// record writes a text of any length as comments. A comment cannot hold a double
// quote, so the two kinds of quote change places.
func (c *Chain) record(kind, text string) {
	for _, comment := range backend.Record(kind, swapQuotes(text), maxComment) {
		c.add(comment, "continue")
	}
}

func swapQuotes(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, `'`, `\u0027`), `"`, `'`)
}

func unswapQuotes(s string) string { return strings.ReplaceAll(s, `'`, `"`) }

// settings is what the table follows from besides the profiles.
type settings struct {
	backend.PolicyRecord
	Next Number `json:"next"` // the first number of a position that was never used
}

func (r *render) settingsText() string {
	return backend.JSON(settings{backend.RecordPolicy(r.Want.Policy), r.numbers.next})
}

// installed is what the table says about itself.
type installed struct {
	profiles []*protocol.Profile
	policy   protocol.Policy
	known    map[string]Number // numbers of positions, by their knocks; read from the rules
	next     Number
	versions Versions
	given    map[string]bool // sets of leases given by hand
}

// input is what the table follows from as it is installed.
func (in *installed) input(want backend.Want) Input {
	return Input{Want: want, Known: in.known, Next: in.next, Given: in.given, Versions: in.versions}
}

func (in *installed) profile(name string) *protocol.Profile {
	if i := slices.IndexFunc(in.profiles, func(p *protocol.Profile) bool { return p.Name == name }); i >= 0 {
		return in.profiles[i]
	}
	return nil
}

// readAbout reads back what a commit wrote. An error means that the table was
// changed by somebody else; then only the names of sets say anything.
func readAbout(t *table) (*installed, error) {
	none := &installed{given: t.givenSets()}
	about := t.chains[aboutChain]
	switch {
	case len(t.chains) == 0:
		return none, nil
	case about == nil || len(about.comments) == 0:
		return none, errors.New("chain about does not say any more what is installed: install it again")
	}
	in := &installed{known: map[string]Number{}, versions: t.versions(), given: none.given}
	records := backend.Records{}
	for _, comment := range about.comments {
		if err := in.collect(records, comment); err != nil {
			return none, err
		}
	}
	if err := records.Whole(); err != nil {
		return none, fmt.Errorf("chain about: %w", err)
	}
	positions := t.positions()
	for _, p := range in.profiles {
		for i := range p.Sequence {
			if n, ok := positions[protocol.Use{Profile: p, Step: i + 1}.String()]; ok {
				in.known[protocol.PathText(p.Path(i+1))] = n
			}
		}
	}
	return in, nil
}

// collect reads a record when the comment is its last piece.
func (in *installed) collect(records backend.Records, comment string) error {
	kind, whole, err := records.Add(comment)
	whole = unswapQuotes(whole)
	switch {
	case err != nil || whole == "":
	case kind == aboutSettings:
		var s settings
		if err = json.Unmarshal([]byte(whole), &s); err == nil {
			in.policy, in.next = s.Policy(), s.Next
		}
	case kind == aboutProfile:
		var p *protocol.Profile
		if p, err = protocol.ParseCanonical(whole); err == nil {
			in.profiles = append(in.profiles, p)
		}
	default:
		err = fmt.Errorf("%q is not a piece of a record", comment)
	}
	if err != nil {
		return fmt.Errorf("chain about: %w", err)
	}
	return nil
}

// versions reads which sets of leases each profile has.
func (t *table) versions() Versions {
	v := Versions{}
	for name := range t.sets {
		if set, ok := parseLeaseSet(name); ok && set.what == opened {
			v[set.holders] = set.version
		}
	}
	return v
}

// givenSets lists the sets of leases given by hand.
func (t *table) givenSets() map[string]bool {
	sets := map[string]bool{}
	for name := range t.sets {
		if set, ok := parseLeaseSet(name); ok && set.what == given {
			sets[name] = true
		}
	}
	return sets
}

// leaseSets lists the sets of leases, by whose they are, each profile's by name.
func (t *table) leaseSets() map[string][]leaseSet {
	all := map[string][]leaseSet{}
	for _, name := range slices.Sorted(maps.Keys(t.sets)) {
		if set, ok := parseLeaseSet(name); ok {
			all[set.holders] = append(all[set.holders], set)
		}
	}
	return all
}

// positions reads the numbers of positions from the comments of the rules that
// note them: "now at 0:2 mysql 2/3".
func (t *table) positions() map[string]Number {
	positions := map[string]Number{}
	for name, c := range t.chains {
		if ownBodies(name) {
			continue // a profile's own rules have comments of their own
		}
		for _, comment := range c.comments {
			rest, ok := strings.CutPrefix(comment, noted)
			if !ok {
				continue
			}
			number, names, _ := strings.Cut(rest, " ")
			if n, err := parseNumber(number); err == nil {
				first, _, _ := strings.Cut(names, ",")
				positions[first] = n
			}
		}
	}
	return positions
}
