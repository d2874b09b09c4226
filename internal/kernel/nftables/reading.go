package nftables

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"knockkit/internal/kernel/backend"
	"knockkit/protocol"
)

// reading is a moment of the table. It is pure.
type reading struct {
	table  *table
	about  *about
	unread error // why the record cannot be read

	// Of a reading with rules:
	drift []string
	marks seal    // of the objects that are as they were committed
	known ruleset // those objects, as the record has them
}

// newReading reads the record. With rules it compares the objects that the record stands for with
// those in the kernel, by marks, or where those are nil by the table's seal.
func newReading(t *table, rules bool, marks seal) *reading {
	r := &reading{table: t}
	r.about, r.unread = readAbout(t)
	if r.unread != nil {
		r.drift = []string{r.unread.Error()}
		return r
	}
	if !rules || !t.exists {
		return r
	}
	want, err := backend.Compile(r.about.profiles, r.about.policy)
	if err != nil {
		r.drift = []string{fmt.Sprintf("the record of what is installed does not compile: %v", err)}
		return r
	}
	is := render(r.about.with(want))
	if marks == nil {
		marks = parseSeal(t, is)
	}
	r.drift, r.marks = t.drift(is, marks)
	r.known = r.marks.of(is)
	return r
}

// readsElements reports whether a reading of that depth has the elements of a set.
func readsElements(s setName, d backend.Depth) bool {
	if s.what == "" || s.what == positionPrefix || !d.Leases || d.Family != protocol.Both && s.key[:1] != digit(d.Family) {
		return false
	}
	return !s.leases() || d.Profile == "" || s.key[1:] == "-"+d.Profile
}

// sources lists leases, bans and falls, of the elements that were read.
func (r *reading) sources() []backend.Source {
	var all []backend.Source
	fallen, parts := map[netip.Addr]backend.Source{}, r.parts()
	for _, s := range r.table.sets {
		for _, e := range s.elements {
			src := backend.Source{Address: netip.PrefixFrom(e.Address, e.Address.BitLen()), Left: e.Expires.Truncate(time.Second), Unlimited: e.Timeout == 0}
			switch {
			case s.is.leases():
				p := r.about.profile(s.is.key[2:])
				if p == nil || s.is.version != max(r.about.versions[s.is.key], 1) {
					continue
				}
				src.Profile, src.State, src.Step, src.Steps = p.Name, backend.Open, len(p.Sequence), len(p.Sequence)
				src.Address = netip.PrefixFrom(e.Address, s.is.bits)
				if src.ByHand = s.is.what != opened; !src.ByHand {
					src.Users = usersOf(parts[leaseID{p.Name, src.Address}], src, p.Once)
				}
			case s.is.what == bannedPrefix:
				src.State = backend.Banned
			case s.is.what == fallPrefix:
				src.State = backend.Fallen
				if src.Left >= fallen[e.Address].Left {
					fallen[e.Address] = src
				}
				continue
			default:
				continue
			}
			all = append(all, src)
		}
	}
	all = slices.AppendSeq(all, maps.Values(fallen))
	slices.SortFunc(all, func(x, y backend.Source) int { // maps have no order
		return cmp.Or(strings.Compare(x.Profile, y.Profile), strings.Compare(string(x.State), string(y.State)))
	})
	return all
}

// users returns which profiles' positions the numbers of a family mean.
func (r *reading) users(f protocol.Family) (map[number][]protocol.Use, error) {
	a, err := protocol.Compile(r.about.profiles, f)
	if err != nil {
		return nil, err
	}
	users := map[number][]protocol.Use{}
	for _, i := range stays(a) {
		if n, ok := r.about.known[protocol.PathText(a.States[i].Path)]; ok {
			users[n] = a.States[i].Users
		}
	}
	return users, nil
}

// fill says how full each set is that has an element.
func (t *table) fill() []backend.Fill {
	var fills []backend.Fill
	for _, name := range slices.Sorted(maps.Keys(t.sets)) {
		s := t.sets[name]
		entries, limit := max(s.count, len(s.elements)), setSize
		switch {
		case s.is.what == positionPrefix:
			limit = positionsSize
		case name == tokensMap:
			limit = tokensSize
		}
		if !s.fixed && entries > 0 {
			fills = append(fills, backend.Fill{Table: name, Entries: entries, Limit: limit})
		}
	}
	return fills
}
