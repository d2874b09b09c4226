package iptables

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"knockkit/protocol"
)

// tables names the recency tables of one family.
//
// A table keeps its entries over a commit as long as it keeps its name, so a name keeps its meaning.
// A position is named after the profile and step where it first came up, and keeps that name as long
// as its knocks are the same, also when another profile shares it. A position with other knocks gets
// a new name. So does the table of a profile's leases when they end ([backend.LeasesEnd]): the old
// rules may write it until they are gone, and the new rules do not ask it.
//
// The part that differs comes first: the kernel finds a table by comparing names along a list, and a
// shared beginning doubles the cost (measured: 15 ns a table instead of 7).
type tables struct {
	d        dialect
	states   []string          // state → name
	leases   map[string]string // profile → name
	shared   map[string]string // profile → name of its shared table
	automata *protocol.Automaton
}

func newTables(in input) *tables {
	a := in.Automaton
	t := &tables{d: dialect{a.Family}, states: make([]string, len(a.States)), leases: map[string]string{}, automata: a}
	t.share(in.Shared)
	taken := map[string]bool{}
	for _, name := range in.Taken {
		taken[name] = true
	}
	for _, name := range in.Positions {
		taken[name] = true
	}
	for i := range a.States {
		if i == protocol.Root || !a.Stays(i) {
			continue
		}
		name, ok := in.Positions[protocol.PathText(a.States[i].Path)]
		if !ok {
			u := a.States[i].Users[0]
			name = t.fresh(fmt.Sprintf("%s.%d", u.Profile.Name, u.Step), taken)
		}
		t.states[i] = name
	}
	for _, p := range a.Profiles {
		name, ok := in.Leases[p.Name]
		if !ok {
			name = p.Name + ".open"
			if bits := p.Prefix(a.Family); bits != a.Family.Bits() { // a table keeps its mask for life
				name += strconv.Itoa(bits)
			}
			name = t.fresh(name, taken)
		}
		t.leases[p.Name] = name
	}
	return t
}

// fresh returns a name that no table has, and takes it.
func (t *tables) fresh(base string, taken map[string]bool) string {
	name := base + suffix(t.d.family)
	for version := 2; taken[name]; version++ {
		name = fmt.Sprintf("%s.v%d%s", base, version, suffix(t.d.family))
	}
	taken[name] = true
	return name
}

// suffix marks a table as ours and of one family: IPv4 and IPv6 never share one.
func suffix(f protocol.Family) string {
	if f == protocol.IPv4 {
		return ".KNOCKD4"
	}
	return ".KNOCKD6"
}

func (t *tables) plain(name string) table { return t.single(name + suffix(t.d.family)) }

func (t *tables) single(name string) table { return table{t.d.family, name, t.d.family.Bits()} }

// state holds the sources in a position.
func (t *tables) state(i int) table { return t.single(t.states[i]) }

// progress holds the sources in any position, banned and fallen those of the ban.
func (t *tables) progress() table { return t.plain("progress") }
func (t *tables) banned() table   { return t.plain("banned") }
func (t *tables) fallen() table   { return t.plain("fallen") }

// clock is written and read back to learn the kernel's time.
func (t *tables) clock() table { return t.plain("clock") }

func clockOf(f protocol.Family) string { return (&tables{d: dialect{f}}).clock().name }

// lease holds the sources with a lease of the profile.
func (t *tables) lease(p *protocol.Profile) table {
	return table{t.d.family, t.leases[p.Name], p.Prefix(t.d.family)}
}

// passed has the sources whose connection has used up a lease of `once` at the gate before
// destination NAT, and has not come to the gate at the input yet.
func (t *tables) passed(p *protocol.Profile) table { return t.plain(p.Name + ".passed") }

// used has the sources that have just used up a lease of `once`.
func (t *tables) used(p *protocol.Profile) table { return t.plain(p.Name + ".used") }

// sharedTables is how many tables the profiles share to tell a lease holder from a stranger before
// the profile's own lease table is asked.
//
// One shared table would hold `ip_list_tot` addresses over all profiles, and one crowded profile
// would shut out the users of the others. A gate that asks only its own table costs a stranger 1.5
// to 1.9 times as much with 100 profiles as with 1, since the table is far down the kernel's list.
// Eight tables are few on the list, and up to eight profiles share none.
const sharedTables = 8

// share gives each profile its shared table: the one it has, or the one with the fewest profiles.
func (t *tables) share(had map[string]string) {
	t.shared = map[string]string{}
	var users [sharedTables]int
	name := func(i int) string { return t.plain(fmt.Sprintf("holders%d", i)).name }
	count := func(table string) {
		for i := range users {
			if name(i) == table {
				users[i]++
			}
		}
	}
	var rest []*protocol.Profile
	for _, p := range t.automata.Profiles {
		switch table, ok := had[p.Name]; {
		case p.Prefix(t.d.family) != t.d.family.Bits(): // the table could not be asked by address
		case ok:
			t.shared[p.Name] = table
			count(table)
		default:
			rest = append(rest, p)
		}
	}
	for _, p := range rest {
		i := slices.Index(users[:], slices.Min(users[:]))
		t.shared[p.Name] = name(i)
		users[i]++
	}
}

// sharedTable is the table in which a lease of the profile is written too. Its entries have no time:
// the profile's own table decides. A profile whose leases cover more than an address has none.
func (t *tables) sharedTable(p *protocol.Profile) (table, bool) {
	name, ok := t.shared[p.Name]
	return t.single(name), ok
}

// heat says which packets ask a table.
type heat int

const (
	hot  heat = iota // any that may be an event
	warm             // a first knock
	cold             // packets of sources in a position, or with a lease
	kept             // none: only KNOCKD-ABOUT names it
)

// tableUse says what a table is for.
type tableUse struct {
	table   table
	heat    heat
	meaning string
}

// spareMeaning is the comment of a table that no packet asks and that is kept during a trial: the
// old rules may come back and need its entries. The kernel drops a table with the last rule that
// names it.
const spareMeaning = "kept for a trial"

// hottest lists all tables in the order in which they should stand on the
// kernel's list: the ones that a stranger's packet asks first.
func (t *tables) hottest(b *protocol.Ban, spare []table) []tableUse {
	var uses []tableUse
	seen := map[table]bool{}
	add := func(tab table, h heat, meaning string) {
		if !seen[tab] {
			seen[tab] = true
			uses = append(uses, tableUse{tab, h, meaning})
		}
	}
	if b != nil {
		add(t.banned(), hot, "sources that are banned")
	}
	add(t.progress(), hot, "sources in some position")
	for _, p := range t.automata.Profiles {
		if tab, ok := t.sharedTable(p); ok {
			add(tab, hot, "sources that may hold a lease")
		}
	}
	t.eachState(func(i int) {
		h := cold
		if len(t.automata.States[i].Path) == 1 {
			h = warm
		}
		add(t.state(i), h, positionMeaning+t.automata.StateName(i))
	})
	for _, p := range t.automata.Profiles {
		meaning := leaseMeaning + p.Name
		if shared, ok := t.sharedTable(p); ok {
			meaning += firstAsked + strings.TrimSuffix(shared.name, suffix(t.d.family))
		}
		add(t.lease(p), cold, meaning)
		if p.Once {
			add(t.used(p), cold, "sources that have used up a lease of "+p.Name)
		}
		if p.Once && beforeNAT(p) {
			add(t.passed(p), cold, "connections of "+p.Name+" on their way to the input")
		}
	}
	if b != nil {
		add(t.fallen(), cold, "sources that fell from a position")
	}
	add(t.clock(), kept, "the kernel's clock")
	for _, s := range spare {
		add(s, kept, spareMeaning)
	}
	return uses
}

// eachState calls f for the states in which a source can stay.
func (t *tables) eachState(f func(i int)) {
	for i, name := range t.states {
		if name != "" {
			f(i)
		}
	}
}

// limits says how old an entry of each table may be before it means nothing, by name; 0: any age.
func (t *tables) limits(policy protocol.Policy) map[string]time.Duration {
	limits := map[string]time.Duration{}
	t.eachState(func(i int) { limits[t.states[i]] = t.automata.States[i].Within })
	for _, p := range t.automata.Profiles {
		limits[t.leases[p.Name]] = p.Lease
	}
	if policy.Ban != nil {
		limits[t.banned().name] = policy.Ban.For
	}
	return limits
}
