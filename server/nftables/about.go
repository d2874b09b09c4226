package nftables

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"knockkit/protocol"
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

// record writes a text of any length as comments: "profile 1/2 {…". A comment
// cannot hold a double quote, so the two kinds of quote change places.
func (c *Chain) record(kind, text string) {
	text = swapQuotes(text)
	const chunk = maxComment - len("settings 10/10 ")
	n := (len(text) + chunk - 1) / chunk
	for i := range n {
		c.add(fmt.Sprintf("%s %d/%d %s", kind, i+1, n, text[i*chunk:min(len(text), (i+1)*chunk)]), "continue")
	}
}

func swapQuotes(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, `'`, `\u0027`), `"`, `'`)
}

func unswapQuotes(s string) string { return strings.ReplaceAll(s, `'`, `"`) }

// settings is what the table follows from besides the profiles.
type settings struct {
	Strict    bool   `json:"strict"`
	BanAfter  int    `json:"ban_after,omitempty"`
	BanForSec int64  `json:"ban_for,omitempty"`
	Next      Number `json:"next"` // the first number of a position that was never used
}

func (r *render) settingsText() string {
	s := settings{Strict: r.Want.Policy.Strict, Next: r.numbers.next}
	if ban := r.Want.Policy.Ban; ban != nil {
		s.BanAfter, s.BanForSec = ban.After, int64(ban.For/time.Second)
	}
	text, err := json.Marshal(s)
	if err != nil {
		panic(err) // a struct of numbers always has a JSON form
	}
	return string(text)
}

// Installed is what the table says about itself.
type Installed struct {
	Profiles []*protocol.Profile
	Policy   protocol.Policy
	Known    map[string]Number // numbers of positions, by their knocks
	Next     Number
}

// ReadAbout reads back what a commit wrote. An error means that the table was
// changed by somebody else.
func ReadAbout(l *Listing) (*Installed, error) {
	in := &Installed{Known: map[string]Number{}, Next: 1}
	about := l.Chain("about")
	if about == nil {
		return in, nil
	}
	records := map[string]*strings.Builder{}
	for _, comment := range about.Comments {
		if err := in.collect(records, comment); err != nil {
			return nil, err
		}
	}
	positions := positionsOf(l)
	for _, p := range in.Profiles {
		for i := range p.Sequence {
			if n, ok := positions[protocol.Use{Profile: p, Step: i + 1}.String()]; ok {
				in.Known[sequenceText(p.Sequence[:i+1])] = n
			}
		}
	}
	return in, nil
}

// collect puts the pieces of a record together, and reads it when it is whole.
func (in *Installed) collect(records map[string]*strings.Builder, comment string) error {
	kind, rest, _ := strings.Cut(comment, " ")
	place, text, _ := strings.Cut(rest, " ")
	var i, n int
	if _, err := fmt.Sscanf(place, "%d/%d", &i, &n); err != nil || kind != aboutSettings && kind != aboutProfile {
		return fmt.Errorf("chain about: %q is not a piece of a record", comment)
	}
	if records[kind] == nil || i == 1 {
		records[kind] = &strings.Builder{}
	}
	records[kind].WriteString(text)
	if i < n {
		return nil
	}
	whole := unswapQuotes(records[kind].String())
	if kind == aboutSettings {
		return in.readSettings(whole)
	}
	p, err := protocol.ParseCanonical(whole)
	if err != nil {
		return fmt.Errorf("chain about: %w", err)
	}
	in.Profiles = append(in.Profiles, p)
	return nil
}

func (in *Installed) readSettings(text string) error {
	var s settings
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return fmt.Errorf("chain about: settings: %w", err)
	}
	in.Policy, in.Next = protocol.Policy{Strict: s.Strict}, s.Next
	if s.BanAfter > 0 {
		in.Policy.Ban = &protocol.Ban{After: s.BanAfter, For: time.Duration(s.BanForSec) * time.Second}
	}
	return nil
}

// positionsOf reads the numbers of positions from the comments of the rules that
// note them: "now at 0:2 mysql 2/3".
func positionsOf(l *Listing) map[string]Number {
	positions := map[string]Number{}
	for _, c := range l.Chains {
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

func sequenceText(steps []protocol.Step) string {
	path := make([]protocol.Knock, len(steps))
	for i, s := range steps {
		path[i] = s.Knock
	}
	return pathText(path)
}
