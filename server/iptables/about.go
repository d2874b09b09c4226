package iptables

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"knockkit/protocol"
	"knockkit/server/backend"
	"knockkit/server/iptables/save"
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
		r.out.heats = append(r.out.heats, u.heat)
	}
	for _, s := range r.Spare {
		if !slices.ContainsFunc(uses, func(u tableUse) bool { return u.table == table(s) }) {
			c.add(table(s).check(), note("%s%s", aboutTable, spareMeaning))
		}
	}
	c.record(aboutSettings, backend.JSON(backend.RecordPolicy(r.Policy)))
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

// What the comment of a table says it holds, before it says of what.
const (
	positionMeaning = "position "
	leaseMeaning    = "lease "
)

// How comments end where a lease is noted in a shared table, and where that is asked.
const (
	askLease = ": ask for its lease"
	aLease   = ": a lease?"
)

// record writes a text of any length as comments.
func (c *Chain) record(kind, text string) {
	for _, comment := range backend.Record(kind, text, maxRecord) {
		c.add(note("%s", comment))
	}
}

// maxRecord is how much of a record goes into one comment.
const maxRecord = 220

// Installed is what KNOCKD-ABOUT says about one family.
type Installed struct {
	Profiles []*protocol.Profile
	Policy   protocol.Policy
	Known    Known   // tables of positions
	Holders  Holders // tables that profiles share
	Leases   Leases
	Grants   []Grant // that were alive when the rules were written
	Spare    []Spare // all tables that the rules name, used or not
}

// input is what the rules follow from as they are installed.
func (in *Installed) input(a *protocol.Automaton) Input {
	return Input{Automaton: a, Policy: in.Policy, Known: in.Known, Holders: in.Holders, Leases: in.Leases}
}

// Spare is a table that lives on although no packet asks it: during a trial, after
// which the old rules may come back and need its entries. The kernel drops a table
// with the last rule that names it.
type Spare struct {
	name, mask string
}

// spareMeaning is what KNOCKD-ABOUT says of a spare table.
const spareMeaning = "kept for a trial"

// tablesOf lists the recency tables that KNOCKD-ABOUT begins with.
func tablesOf(r *Ruleset) []Spare {
	var tables []Spare
	if about := r.Chain(chainAbout); about != nil {
		for _, line := range about.Rules {
			if args, err := save.Args(line); err == nil && argument(args, "--name") != "" {
				tables = append(tables, Spare{argument(args, "--name"), argument(args, "--mask")})
			}
		}
	}
	return tables
}

// named lists the recency tables that any rule of ours names. Those of a chain
// [chainAbout] that stands alone do not count: nothing has ever been written into them ([prime]).
func named(r *Ruleset) []string {
	var names []string
	if len(r.Chains) == 1 && r.Chains[0].Name == chainAbout {
		return nil
	}
	seen := map[string]bool{}
	for _, c := range r.Chains {
		for _, line := range c.Rules {
			for _, piece := range strings.Split(line, " --name ")[1:] {
				name, _, _ := strings.Cut(piece, " ")
				if !seen[name] {
					seen[name] = true
					names = append(names, name)
				}
			}
		}
	}
	return names
}

// ReadAbout reads back what a commit wrote. An error means that the chain was
// changed by somebody else.
func ReadAbout(r *Ruleset) (*Installed, error) {
	in := &Installed{Known: Known{}, Holders: ReadHolders(r), Leases: Leases{}, Spare: tablesOf(r)}
	about := r.Chain(chainAbout)
	if about == nil {
		return in, nil
	}
	positions := map[string]string{} // "mysql 1/3" → table
	records := backend.Records{}
	for _, line := range about.Rules {
		args, err := save.Args(line)
		if err != nil {
			return nil, err
		}
		comment := argument(args, "--comment")
		if meaning, ok := strings.CutPrefix(comment, aboutTable+positionMeaning); ok {
			first, _, _ := strings.Cut(meaning, ",")
			positions[first] = argument(args, "--name")
		} else if profile, ok := strings.CutPrefix(comment, aboutTable+leaseMeaning); ok {
			in.Leases[profile] = argument(args, "--name")
		} else if err := in.collect(records, comment); err != nil {
			return nil, err
		}
	}
	if err := records.Whole(); err != nil {
		return nil, fmt.Errorf("%s: %w", chainAbout, err)
	}
	for _, p := range in.Profiles {
		for i := range p.Sequence {
			if name, ok := positions[protocol.Use{Profile: p, Step: i + 1}.String()]; ok {
				in.Known[protocol.PathText(p.Path(i+1))] = name
			}
		}
		if gate := r.Chain(chainName(prefixGate, p.Name, 0)); gate != nil {
			in.Grants = append(in.Grants, readGrants(p, r.Family, gate)...)
		}
	}
	return in, nil
}

// collect reads a record when the comment is its last piece.
func (in *Installed) collect(records backend.Records, comment string) error {
	if kind, _, _ := strings.Cut(comment, " "); kind != aboutSettings && kind != aboutProfile {
		return nil
	}
	kind, whole, err := records.Add(comment)
	switch {
	case err != nil || whole == "":
	case kind == aboutSettings:
		var rec backend.PolicyRecord
		if err = json.Unmarshal([]byte(whole), &rec); err == nil {
			in.Policy = rec.Policy()
		}
	default:
		var p *protocol.Profile
		if p, err = protocol.ParseCanonical(whole); err == nil {
			in.Profiles = append(in.Profiles, p)
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", chainAbout, err)
	}
	return nil
}

// ReadHolders reads which shared table each profile has: where a grant notes a lease, and
// where a gate looks first. Either is enough, as somebody may have changed the rules.
func ReadHolders(r *Ruleset) Holders {
	shared := Holders{}
	for _, c := range r.Chains {
		if strings.HasPrefix(c.Name, prefixOpen) || strings.HasPrefix(c.Name, prefixPreOpen) {
			continue // a profile's own rules have comments of their own
		}
		for _, line := range c.Rules {
			for _, end := range []string{askLease, aLease} {
				if !strings.Contains(line, end) {
					continue
				}
				args, err := save.Args(line)
				if err != nil {
					continue
				}
				profile, ok := strings.CutSuffix(argument(args, "--comment"), end)
				if table := argument(args, "--name"); ok && table != "" {
					shared[profile] = table
				}
			}
		}
	}
	return shared
}

// readGrants reads the leases given by hand.
func readGrants(p *protocol.Profile, f protocol.Family, gate *Chain) []Grant {
	var grants []Grant
	for _, line := range gate.Rules {
		args, err := save.Args(line)
		if err != nil {
			continue
		}
		if g, ok := parseGrant(p, f, args); ok && !slices.Contains(grants, g) {
			grants = append(grants, g)
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
