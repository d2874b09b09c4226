package iptables

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"knockkit/internal/kernel/backend"
	"knockkit/internal/kernel/iptables/save"
	"knockkit/protocol"
	"knockkit/protocol/format"
)

// about fills KNOCKD-ABOUT, which no packet reaches. Its comments are the record: the settings, the
// profiles, the leases given by hand, and all tables. The rules for tables that packets ask most
// also match them, so that the kernel makes these tables first and finds them fastest. A match of
// each of the others would cost an install of 1,000 profiles a tenth of its time.
func (r *renderer) about() {
	c := r.out.newChain(chainAbout)
	for _, u := range r.out.uses {
		match := u.table.check()
		if u.heat == cold {
			match = ""
		}
		c.add(match, comment("%s %s/%d: %s", aboutTable, u.table.name, u.table.bits, u.meaning))
	}
	c.record(aboutSettings, backend.JSON(backend.RecordPolicy(r.Policy)))
	for _, p := range r.Automaton.Profiles {
		c.record(aboutProfile, format.Canonical(p))
	}
	for _, g := range r.Grants {
		c.record(aboutGrant, g.String())
	}
}

// The words that begin the comments of KNOCKD-ABOUT.
const (
	aboutTable    = "table"
	aboutSettings = "settings"
	aboutProfile  = "profile"
	aboutGrant    = "given" // a lease given by hand
)

// The words behind a table's name in its comment.
const (
	positionMeaning = "position "
	leaseMeaning    = "lease "
	firstAsked      = ", first asked in " // then the shared table's name, without its suffix
)

// record writes a text of any length as comments.
func (c *chain) record(kind, text string) {
	for _, piece := range backend.Record(kind, text, maxRecord) {
		c.add(comment("%s", piece))
	}
}

// maxRecord is how much of a record goes into one comment.
const maxRecord = 220

// about is the record of one family.
type about struct {
	Profiles  []*protocol.Profile // by name
	Policy    protocol.Policy
	Positions map[string]string // the knocks of a position, as text → its table
	Leases    map[string]string // profile → the table of its leases
	Shared    map[string]string // profile → the shared table that its gate asks first
	Grants    []grant
	Tables    []table // all recency tables, whether packets ask them or not
}

// input returns what the installed rules were made from.
func (in *about) input(a *protocol.Automaton) input {
	return input{Automaton: a, Policy: in.Policy, Positions: in.Positions, Shared: in.Shared, Leases: in.Leases, Grants: in.Grants, Spare: in.Tables}
}

// profile returns an installed profile, or nil.
func (in *about) profile(name string) *protocol.Profile { return protocol.Find(in.Profiles, name) }

// parsedProfiles keeps profiles by their record: both families have the same records.
type parsedProfiles map[string]*protocol.Profile

func (all parsedProfiles) parse(record string) (*protocol.Profile, error) {
	if all[record] == nil {
		p, err := format.ParseCanonical(record)
		if err != nil {
			return nil, err
		}
		all[record] = p
	}
	return all[record], nil
}

// readAbout reads the rules of KNOCKD-ABOUT back. An error means that somebody else has changed the
// chain; then the result is what could still be read.
func readAbout(f protocol.Family, rules []string, parsed parsedProfiles) (*about, error) {
	in := &about{Leases: map[string]string{}, Shared: map[string]string{}}
	positions := map[string]string{} // "mysql 1/3" → table
	var records []string
	var failed error
	for _, rule := range rules {
		args, err := save.Args(rule)
		comment := argument(args, "--comment")
		switch kind, rest, _ := strings.Cut(comment, " "); kind {
		case aboutTable:
			err = in.table(f, rest, positions)
		case aboutSettings, aboutProfile, aboutGrant:
			records = append(records, comment)
		}
		failed = cmp.Or(failed, err)
	}
	failed = cmp.Or(failed, backend.ReadRecords(records, func(kind, text string) error { return in.read(parsed, kind, text) }))
	in.Positions = backend.ByKnocks(in.Profiles, positions)
	if failed != nil {
		failed = fmt.Errorf("%s: %w", chainAbout, failed)
	}
	return in, failed
}

// table reads the comment of a table: "mysql.open.KNOCKD4/32: lease mysql".
func (in *about) table(f protocol.Family, record string, positions map[string]string) error {
	named, meaning, _ := strings.Cut(record, ": ")
	name, length, _ := strings.Cut(named, "/")
	bits, err := strconv.Atoi(length)
	if err != nil || bits < 0 || bits > f.Bits() {
		return fmt.Errorf("%q is no recency table", record)
	}
	t := table{f, name, bits}
	in.Tables = append(in.Tables, t)
	if users, ok := strings.CutPrefix(meaning, positionMeaning); ok {
		first, _, _ := strings.Cut(users, ",")
		positions[first] = t.name
	} else if profile, ok := strings.CutPrefix(meaning, leaseMeaning); ok {
		profile, shared, ok := strings.Cut(profile, firstAsked)
		in.Leases[profile] = t.name
		if ok {
			in.Shared[profile] = shared + suffix(f)
		}
	}
	return nil
}

// read reads a record.
func (in *about) read(parsed parsedProfiles, kind, text string) (err error) {
	switch kind {
	case aboutSettings:
		var rec backend.PolicyRecord
		err = json.Unmarshal([]byte(text), &rec)
		in.Policy = rec.Policy()
	case aboutProfile:
		var p *protocol.Profile
		if p, err = parsed.parse(text); err == nil {
			in.Profiles = append(in.Profiles, p)
		}
	default:
		var g grant
		if g, err = parseGrant(text); err == nil {
			in.Grants = append(in.Grants, g)
		}
	}
	return err
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
