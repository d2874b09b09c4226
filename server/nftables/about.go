package nftables

import (
	"encoding/json"
	"fmt"
	"strings"

	"knockkit/protocol"
	"knockkit/server/backend"
)

// maxComment is what a rule's comment holds, with a margin.
const maxComment = 120

// about fills the chain that no packet reaches. It says in comments what is
// installed, so that the kernel is the only place that knows.
func (r *render) about() {
	c := r.chain("about")
	c.record(aboutSettings, r.settingsText())
	for _, p := range r.profiles() {
		c.record(aboutProfile, p.Canonical())
	}
}

// What the comments of the chain about begin with.
const (
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

// Installed is what the table says about itself.
type Installed struct {
	Profiles []*protocol.Profile
	Policy   protocol.Policy
	Known    map[string]Number // numbers of positions, by their knocks
	Next     Number
	Versions Versions
	Given    map[string]bool // sets of leases given by hand
}

// input is what the table follows from as it is installed.
func (in *Installed) input(want backend.Want) Input {
	return Input{Want: want, Known: in.Known, Next: in.Next, Given: in.Given, Versions: in.Versions}
}

// ReadAbout reads back what a commit wrote. An error means that the table was
// changed by somebody else.
func ReadAbout(l *Listing) (*Installed, error) {
	in := &Installed{Known: map[string]Number{}, Next: 1, Versions: versionsOf(l), Given: givenSets(l)}
	about := l.Chain("about")
	if about == nil {
		return in, nil
	}
	records := backend.Records{}
	for _, comment := range about.Comments {
		if err := in.collect(records, comment); err != nil {
			return nil, err
		}
	}
	if err := records.Whole(); err != nil {
		return nil, fmt.Errorf("chain about: %w", err)
	}
	positions := positionsOf(l)
	for _, p := range in.Profiles {
		for i := range p.Sequence {
			if n, ok := positions[protocol.Use{Profile: p, Step: i + 1}.String()]; ok {
				in.Known[protocol.PathText(p.Path(i+1))] = n
			}
		}
	}
	return in, nil
}

// collect reads a record when the comment is its last piece.
func (in *Installed) collect(records backend.Records, comment string) error {
	kind, whole, err := records.Add(comment)
	whole = unswapQuotes(whole)
	switch {
	case err != nil || whole == "":
	case kind == aboutSettings:
		var s settings
		if err = json.Unmarshal([]byte(whole), &s); err == nil {
			in.Policy, in.Next = s.Policy(), s.Next
		}
	case kind == aboutProfile:
		var p *protocol.Profile
		if p, err = protocol.ParseCanonical(whole); err == nil {
			in.Profiles = append(in.Profiles, p)
		}
	default:
		err = fmt.Errorf("%q is not a piece of a record", comment)
	}
	if err != nil {
		return fmt.Errorf("chain about: %w", err)
	}
	return nil
}

// versionsOf reads which sets of leases each profile has.
func versionsOf(l *Listing) Versions {
	v := Versions{}
	for _, s := range l.Sets {
		if set, ok := parseLeaseSet(s.Name); ok && set.what == opened {
			v[set.holders] = set.version
		}
	}
	return v
}

// givenSets lists the sets of leases given by hand.
func givenSets(l *Listing) map[string]bool {
	sets := map[string]bool{}
	for _, s := range l.Sets {
		if set, ok := parseLeaseSet(s.Name); ok && set.what == given {
			sets[s.Name] = true
		}
	}
	return sets
}

// positionsOf reads the numbers of positions from the comments of the rules that
// note them: "now at 0:2 mysql 2/3".
func positionsOf(l *Listing) map[string]Number {
	positions := map[string]Number{}
	for _, c := range l.Chains {
		if ownBodies(c.Name) {
			continue // a profile's own rules have comments of their own
		}
		for _, comment := range c.Comments {
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
