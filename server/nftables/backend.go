package nftables

import (
	"context"
	"strings"

	"golang.org/x/sys/unix"

	"knockkit/protocol"
	"knockkit/server/backend"
)

// Backend is the nftables of the host: of the network namespace of whoever calls.
type Backend struct{}

// New returns the backend.
func New() Backend { return Backend{} }

// Name returns "nftables".
func (Backend) Name() string { return "nftables" }

// Live reports whether our table is there.
func (Backend) Live(ctx context.Context) (bool, error) {
	return exists(ctx, request{unix.NFT_MSG_GETTABLE, unix.NFPROTO_INET, false, attribute(unix.NFTA_TABLE_NAME, TableName)})
}

// Clean returns the reading of a host that has no table of ours.
func (Backend) Clean() *backend.Reading {
	return &backend.Reading{Planner: newReading(newTable(), false, nil)}
}

// Read reads the table over netlink.
// Errors: those of the context, [backend.ErrPrivilege].
func (Backend) Read(ctx context.Context, d backend.Depth) (*backend.Reading, error) {
	r, err := read(ctx, d, nil)
	if err != nil {
		return nil, err
	}
	n, knocking, byProfile, err := r.readPositions(ctx, d)
	if err != nil {
		return nil, err
	}
	is := &backend.Reading{Installed: r.installed(), Sources: append(r.sources(), knocking...), Positions: n, Knocking: byProfile, Planner: r}
	backend.Sort(is.Sources)
	if d.Leases && d.Profile == "" {
		is.Fill = r.table.fill()
	}
	return is, nil
}

// read reads the table. marks are in the place of its seal, unless they are nil.
func read(ctx context.Context, d backend.Depth, marks seal) (*reading, error) {
	t, err := readTable(ctx, extent{
		rules:    d.Rules || d.Positions > 0, // which say what a position's number means
		chains:   []string{aboutChain, sealChain},
		elements: func(name string) bool { return holdsSources(name, d) },
	})
	if err != nil {
		return nil, err
	}
	r := newReading(t, d.Rules, marks)
	if d.Rules && r.lost() {
		r.about.next, err = highest(ctx, t)
		r.about.next++
	}
	return r, err
}

// mostPositions is how many elements of a map of positions are read at most. For each 32 KB of
// them the kernel goes through the map from its beginning: 12 s for the 524,288 that it has room
// for, and a tenth of a second for these.
const mostPositions = 1 << 16

// readPositions counts the sources in a position, and lists the newest of those that it reads.
func (r *reading) readPositions(ctx context.Context, d backend.Depth) (n int, all []backend.Source, byProfile map[string]int, err error) {
	var elements []element
	for _, f := range protocol.Families() {
		name := positionPrefix + digit(f)
		s := r.table.sets[name]
		if s == nil || s.count == 0 || !of(d.Family, digit(f)) {
			continue
		}
		read, whole := 0, false
		if d.Positions > 0 {
			whole, err = stream(ctx, name, func(e element) bool {
				elements = append(elements, e)
				read++
				return read < mostPositions
			})
			if err != nil {
				return 0, nil, nil, err
			}
		}
		switch {
		case n < 0:
		case whole: // the kernel's count has elements that it has yet to sweep
			n += read
		case s.count >= 0:
			n += s.count
		default:
			n = -1
		}
	}
	if d.Positions > 0 {
		all, byProfile, err = r.knocking(elements, d.Positions)
	}
	return n, all, byProfile, err
}

// highest returns the highest number of a position that any source is in, or any rule names.
func highest(ctx context.Context, t *table) (Number, error) {
	top := Number(0)
	for _, n := range t.positions() {
		top = max(top, n)
	}
	for name := range t.sets {
		if !strings.HasPrefix(name, positionPrefix) {
			continue
		}
		if _, err := stream(ctx, name, func(e element) bool { top = max(top, e.Number); return true }); err != nil {
			return 0, err
		}
	}
	return top, nil
}
