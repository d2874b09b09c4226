package nftables

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"knockkit/internal/kernel/backend"
	"knockkit/protocol"
)

// Backend is the nftables of the host, in the network namespace of the caller.
type Backend struct{}

// New returns the backend.
func New() Backend { return Backend{} }

// Name returns "nftables".
func (Backend) Name() string { return "nftables" }

// Live reports whether our table is there.
func (Backend) Live(ctx context.Context) (bool, error) {
	all, err := Tables(ctx)
	return slices.Contains(all, "inet "+TableName), err
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
	is := &backend.Reading{Sources: r.sources(), Planner: r}
	is.Installed = backend.Installed{Profiles: r.about.profiles, Policy: r.about.policy, Unread: r.unread, Drift: r.drift}
	if len(is.Profiles) > 0 {
		is.Families = protocol.Families()
	}
	if err := r.readPositions(ctx, d, is); err != nil {
		return nil, err
	}
	backend.Sort(is.Sources)
	if d.Leases && d.Profile == "" {
		is.Fill = r.table.fill()
	}
	return is, nil
}

// read reads the table. marks replace those of its seal, unless they are nil.
func read(ctx context.Context, d backend.Depth, marks seal) (*reading, error) {
	rules := d.Rules || d.Positions > 0 // rules say what a position's number means
	t, err := readTable(ctx, extent{rules: rules, chains: []string{aboutChain, sealChain}, depth: d})
	if err != nil {
		return nil, err
	}
	r := newReading(t, d.Rules, marks)
	if d.Rules && t.exists && r.about.next == 0 {
		// Nobody knows which number means which position: no number may be used again that a source may have.
		r.about.next, err = highest(ctx, t)
		r.about.next++
	}
	return r, err
}

// mostPositions is how many elements of a map of positions are read at most. For each 32 KB of them
// the kernel goes through the map from its beginning: a tenth of a second for these, 12 s for the
// 524,288 that fit.
const mostPositions = 1 << 16

// readPositions counts the sources in a position, and lists the newest of those that it reads.
func (r *reading) readPositions(ctx context.Context, d backend.Depth, is *backend.Reading) error {
	var all []backend.Position
	for _, f := range protocol.Families() {
		name := positionPrefix + digit(f)
		s := r.table.sets[name]
		if s == nil || s.count == 0 || d.Family != protocol.Both && d.Family != f {
			continue
		}
		count := s.count
		if d.Positions > 0 {
			users, err := r.users(f)
			if err != nil {
				return err
			}
			before := len(all)
			whole, err := stream(ctx, name, func(e element) bool {
				all = append(all, backend.Position{Address: e.Address, Users: users[e.Number],
					Age: e.Timeout - e.Expires, Left: e.Expires.Truncate(time.Second), Unlimited: e.Timeout == 0})
				return len(all)-before < mostPositions
			})
			if err != nil {
				return err
			}
			if whole { // the kernel's count includes elements that are over and not swept yet
				count = len(all) - before
			}
		}
		if count < 0 || is.Positions < 0 {
			is.Positions = -1
		} else {
			is.Positions += count
		}
	}
	if d.Positions > 0 {
		list, byProfile := backend.ListPositions(all, d.Positions)
		is.Sources, is.Knocking = append(is.Sources, list...), byProfile
	}
	return nil
}

// highest returns the highest number of a position that a source has, or a rule names.
func highest(ctx context.Context, t *table) (number, error) {
	top := number(0)
	for _, n := range t.positions() {
		top = max(top, n)
	}
	for name, s := range t.sets {
		if s.is.what != positionPrefix {
			continue
		}
		if _, err := stream(ctx, name, func(e element) bool { top = max(top, e.Number); return true }); err != nil {
			return 0, err
		}
	}
	return top, nil
}

// commitTries is how often rules are committed because somebody else changes rules in the same
// moment, any rules: then nobody can tell what the kernel has of ours.
const commitTries = 3

// Commit does what a plan says, and seals the rules: it reads back what the kernel has made of them,
// and puts marks of that beside them. Where somebody else has changed rules in between, it commits
// once more; after the last try the rules stay without a seal, which is drift.
//
// Errors: [backend.ErrStale] where the kernel refuses because it has changed since the plan was
// made, [backend.ErrUnsupported], a [*backend.ToolError]. Then nothing has changed.
func (Backend) Commit(ctx context.Context, planned backend.Plan, inherit ...*os.File) (pushedOut []backend.Source, err error) {
	for try := 1; ; try++ {
		p, ok := planned.(*plan)
		if !ok {
			return nil, fmt.Errorf("a plan of another backend: %T", planned)
		}
		if try == 1 && p.seal != nil && p.sealed.rules {
			if err := capable(ctx, p.needs, inherit); err != nil {
				return nil, err
			}
		}
		sealed, err := p.commit(ctx, inherit)
		if err != nil || sealed || try == commitTries {
			return nil, err
		}
		// Parts that this commit did not write keep their marks. All others are written once more: the
		// rules are in, and the next commit puts them right.
		ctx = context.WithoutCancel(ctx)
		r, err := read(ctx, backend.Depth{Rules: true, Leases: true}, p.marks)
		if err != nil {
			return nil, err
		}
		if planned, err = p.again(r); err != nil {
			return nil, err
		}
	}
}

// commit runs the texts. Where main fails, behind undoes what before did. sealed reports whether all
// is done.
func (p *plan) commit(ctx context.Context, inherit []*os.File) (sealed bool, err error) {
	generation := p.generation // the kernel's count, if nobody else changes rules
	for _, text := range append(slices.Clone(p.before), p.main) {
		if err := runNft(ctx, text, inherit); err != nil {
			err = stale(ctx, err, generation)
			return false, errors.Join(err, runNft(context.WithoutCancel(ctx), p.behind, inherit))
		}
		if text != "" {
			generation++
		}
	}
	ctx = context.WithoutCancel(ctx)
	if p.seal == nil {
		return true, runNft(ctx, p.behind, inherit)
	}
	seal := ""
	if t, err := readTable(ctx, p.sealed); err == nil && t.generation == generation {
		seal = p.seal(t) // else there is no seal, and status says so
	}
	return seal != "", runNft(ctx, p.behind+seal, inherit)
}

// stale says whether the kernel refused a text because somebody has changed rules since the plan was
// made.
func stale(ctx context.Context, err error, generation uint32) error {
	if _, ok := errors.AsType[*backend.ToolError](err); !ok {
		return err
	}
	t, unread := readTable(context.WithoutCancel(ctx), extent{})
	if unread == nil && t.generation != generation {
		return fmt.Errorf("%w: %w", backend.ErrStale, err)
	}
	return err
}
