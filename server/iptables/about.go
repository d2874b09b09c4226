package iptables

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"knockkit/protocol"
)

// about fills KNOCKD-ABOUT, which no packet reaches. It says in comments what is
// installed, so that the kernel is the only place that knows, and names every
// table in the order of use: the kernel makes them in that order, and finds the
// first ones fastest.
func (r *render) about() {
	c := r.out.newChain(chainAbout)
	uses := r.hottest(r.Policy.Ban)
	for _, u := range uses {
		c.add(u.table.check(), note("%s%s", aboutTable, u.meaning))
	}
	for _, s := range r.Spare {
		if !slices.ContainsFunc(uses, func(u tableUse) bool { return u.table == table(s) }) {
			c.add(table(s).check(), note("%s%s", aboutTable, spareMeaning))
		}
	}
	c.record(aboutSettings, policyText(r.Policy))
	for _, p := range r.Automaton.Profiles {
		c.record(aboutProfile, p.Canonical())
	}
}

// What the comments of KNOCKD-ABOUT begin with.
const (
	aboutTable    = "table: "
	aboutSettings = "settings"
	aboutProfile  = "profile"
)

// chunk is how much of a record goes into one comment.
const chunk = 200

// record writes a text of any length as comments: "profile 1/2 {…".
func (c *Chain) record(kind, text string) {
	n := (len(text) + chunk - 1) / chunk
	for i := range n {
		c.add(note("%s %d/%d %s", kind, i+1, n, text[i*chunk:min(len(text), (i+1)*chunk)]))
	}
}

// policyRecord is the settings that the rules follow from.
type policyRecord struct {
	Strict    bool  `json:"strict"`
	BanAfter  int   `json:"ban_after,omitempty"`
	BanForSec int64 `json:"ban_for,omitempty"`
}

func policyText(p protocol.Policy) string {
	rec := policyRecord{Strict: p.Strict}
	if p.Ban != nil {
		rec.BanAfter, rec.BanForSec = p.Ban.After, int64(p.Ban.For/time.Second)
	}
	text, err := json.Marshal(rec)
	if err != nil {
		panic(err) // a struct of numbers always has a JSON form
	}
	return string(text)
}

// Installed is what KNOCKD-ABOUT says about one family.
type Installed struct {
	Profiles []*protocol.Profile
	Policy   protocol.Policy
	Known    Known   // tables of positions
	Grants   []Grant // that were alive when the rules were written
	Spare    []Spare // all tables that the rules name, used or not
}

// Spare is a table that lives on although no packet asks it: during a trial, after
// which the old rules may come back and need its entries. The kernel drops a table
// with the last rule that names it.
type Spare struct {
	name, mask string
}

// spareMeaning is what KNOCKD-ABOUT says of a spare table.
const spareMeaning = "kept for a trial"

// ReadAbout reads back what a commit wrote. An error means that the chain was
// changed by somebody else.
func ReadAbout(r *Ruleset) (*Installed, error) {
	in := &Installed{Known: Known{}}
	about := r.Chain(chainAbout)
	if about == nil {
		return in, nil
	}
	positions := map[string]string{} // "mysql 1/3" → table
	records := map[string]*strings.Builder{}
	for _, line := range about.Rules {
		args, err := split(line)
		if err != nil {
			return nil, err
		}
		comment := argument(args, "--comment")
		if name := argument(args, "--name"); name != "" {
			in.Spare = append(in.Spare, Spare{name, argument(args, "--mask")})
		}
		if meaning, ok := strings.CutPrefix(comment, aboutTable+"position "); ok {
			first, _, _ := strings.Cut(meaning, ",")
			positions[first] = argument(args, "--name")
		} else if err := in.collect(records, comment); err != nil {
			return nil, err
		}
	}
	for _, p := range in.Profiles {
		for i := range p.Sequence {
			if name, ok := positions[protocol.Use{Profile: p, Step: i + 1}.String()]; ok {
				in.Known[pathText(knocksOf(p.Sequence[:i+1]))] = name
			}
		}
		if gate := r.Chain(chainName(prefixGate, p.Name, 0)); gate != nil {
			in.Grants = append(in.Grants, readGrants(p.Name, gate)...)
		}
	}
	return in, nil
}

// collect puts the pieces of a record together, and reads it when it is whole.
func (in *Installed) collect(records map[string]*strings.Builder, comment string) error {
	kind, rest, _ := strings.Cut(comment, " ")
	if kind != aboutSettings && kind != aboutProfile {
		return nil
	}
	place, text, _ := strings.Cut(rest, " ")
	var i, n int
	if _, err := fmt.Sscanf(place, "%d/%d", &i, &n); err != nil {
		return fmt.Errorf("%s: %q is not a piece of a record", chainAbout, comment)
	}
	if records[kind] == nil || i == 1 {
		records[kind] = &strings.Builder{}
	}
	records[kind].WriteString(text)
	if i < n {
		return nil
	}
	whole := records[kind].String()
	if kind == aboutSettings {
		return in.readPolicy(whole)
	}
	p, err := protocol.ParseCanonical(whole)
	if err != nil {
		return fmt.Errorf("%s: %w", chainAbout, err)
	}
	in.Profiles = append(in.Profiles, p)
	return nil
}

func (in *Installed) readPolicy(text string) error {
	var rec policyRecord
	if err := json.Unmarshal([]byte(text), &rec); err != nil {
		return fmt.Errorf("%s: settings: %w", chainAbout, err)
	}
	in.Policy = protocol.Policy{Strict: rec.Strict}
	if rec.BanAfter > 0 {
		in.Policy.Ban = &protocol.Ban{After: rec.BanAfter, For: time.Duration(rec.BanForSec) * time.Second}
	}
	return nil
}

func readGrants(profile string, gate *Chain) []Grant {
	var grants []Grant
	for _, line := range gate.Rules {
		if args, err := split(line); err == nil {
			if g, ok := parseGrant(profile, args); ok {
				grants = append(grants, g)
			}
		}
	}
	return grants
}

// argument returns what stands behind a flag, or "".
func argument(args []string, flag string) string {
	for i := 0; i+1 < len(args); i++ {
		if args[i] == flag {
			return args[i+1]
		}
	}
	return ""
}

func knocksOf(steps []protocol.Step) []protocol.Knock {
	var all []protocol.Knock
	for _, s := range steps {
		all = append(all, s.Knock)
	}
	return all
}
