package nftables

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"knockkit/server/backend"
)

// commitTries is how often rules are committed because somebody else changes rules in the same
// moment, whichever: it cannot be told then what the kernel has of ours.
const commitTries = 3

// Commit does what a plan says, and seals the rules: what the kernel has made of them is read
// back, and a mark of it is put beside them. Another's change in between is not sealed: all is
// committed once more then, and in the end without a seal, which is drift.
//
// Errors: [backend.ErrStale] where the kernel refuses because it is not what the plan was
// made for, [backend.ErrUnsupported], a [*backend.ToolError]. Nothing has changed then.
func (Backend) Commit(ctx context.Context, planned backend.Plan, hold ...*os.File) (pushedOut []backend.Source, err error) {
	p, ok := planned.(*plan)
	if !ok {
		return nil, fmt.Errorf("a plan of another backend: %T", planned)
	}
	if p.seal != nil && p.sealed.rules {
		if err := capable(ctx, p.needs, hold); err != nil {
			return nil, err
		}
	}
	for try := 1; ; try++ {
		sealed, err := p.commit(ctx, hold)
		if err != nil || sealed || try == commitTries {
			return nil, err
		}
		ctx = context.WithoutCancel(ctx) // the rules are in: what follows puts them right
		if p, err = p.anew(ctx); err != nil {
			return nil, err
		}
	}
}

// anew is the plan for what the kernel has now. What the commit has not written is known by the
// marks that it had before; the rest is written once more.
func (p *plan) anew(ctx context.Context) (*plan, error) {
	r, err := read(ctx, backend.Depth{Rules: p.again != nil, Leases: true}, p.marks)
	if err != nil {
		return nil, err
	}
	if p.again != nil {
		return p.again(r)
	}
	same := *p
	same.generation = r.table.generation
	return &same, nil
}

// commit feeds the texts. When main fails, behind undoes what before did. sealed reports
// whether all is done.
func (p *plan) commit(ctx context.Context, hold []*os.File) (sealed bool, err error) {
	generation := p.generation // that the kernel has if nobody else changes rules
	for _, text := range append(slices.Clone(p.before), p.main) {
		if err := feed(ctx, text, hold); err != nil {
			err = stale(ctx, err, generation)
			return false, errors.Join(err, feed(context.WithoutCancel(ctx), p.behind, hold))
		}
		if text != "" {
			generation++
		}
	}
	ctx = context.WithoutCancel(ctx)
	if p.seal == nil {
		return true, feed(ctx, p.behind, hold)
	}
	seal := ""
	if t, err := readTable(ctx, p.sealed); err == nil && t.generation == generation {
		seal = p.seal(t) // else there is none, and status says so
	}
	return seal != "", feed(ctx, p.behind+seal, hold)
}

// stale says whether the kernel refuses a text because it is not what the plan was made for:
// somebody has changed rules.
func stale(ctx context.Context, err error, generation uint32) error {
	tool := new(backend.ToolError)
	if !errors.As(err, &tool) {
		return err
	}
	t, unread := readTable(context.WithoutCancel(ctx), extent{})
	if unread == nil && t.generation != generation {
		return fmt.Errorf("%w: %w", backend.ErrStale, err)
	}
	return err
}
