package iptables

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"knockkit/internal/kernel/backend"
	"knockkit/protocol"
)

// Backend is the iptables of the host, whichever flavour its commands are.
type Backend struct {
	now   func() time.Time
	rates *rates
}

// New returns the backend. It touches nothing.
func New() Backend { return Backend{time.Now, new(rates)} }

// Name returns "iptables".
func (Backend) Name() string { return "iptables" }

// Live reports whether any rule of the host names a recency table of ours.
func (Backend) Live(context.Context) (bool, error) {
	for _, f := range protocol.Families() {
		if names, err := tableNames(f); err != nil || len(names) > 0 {
			return err == nil, err
		}
	}
	return false, nil
}

// Clean returns the reading of a host that has no rule at all.
func (b Backend) Clean() *backend.Reading {
	k := &kernel{depth: backend.Depth{Rules: true, Leases: true}, now: b.now(), rates: b.rates}
	for _, f := range protocol.Families() {
		k.members = append(k.members, newMember(f, k.depth, nil, readSaved(f, nil), nil))
	}
	return k.reading()
}

// readTries is how often the kernel is read while others flush rules of ours.
const readTries = 3

// Read reads the kernel.
// Errors: those of the context, [backend.ErrPrivilege], [backend.ErrUnsupported], [backend.ErrStale].
func (b Backend) Read(ctx context.Context, d backend.Depth) (*backend.Reading, error) {
	for try := 1; ; try++ {
		k, err := read(ctx, d, b)
		switch {
		case err == nil:
			return k.reading(), nil
		case !errors.Is(err, backend.ErrStale) || try == readTries:
			return nil, err
		}
	}
}

// Commit does what a plan says. When a transaction fails, what was done before is put back.
// Errors: those of the context and of the tools, [backend.ErrPrivilege], [backend.ErrNotInstalled].
func (b Backend) Commit(ctx context.Context, of backend.Plan, inherit ...*os.File) ([]backend.Source, error) {
	p, ok := of.(*plan)
	if !ok {
		return nil, fmt.Errorf("iptables: a plan of another backend: %T", of)
	}
	if p.rules {
		loadModule(ctx) // else the first rule loads it, with small tables
	}
	if p.drops {
		for _, t := range p.texts {
			if err := restore(ctx, t.Family, t.Text, inherit, "--test"); err != nil { // the kernel does not see it
				return nil, err
			}
		}
	}
	watch, err := p.watch(ctx)
	if err != nil {
		return nil, err
	}
	for _, w := range p.before {
		if err := w.do(); err != nil {
			return nil, err
		}
	}
	if err := p.restoreAll(ctx, inherit); err != nil {
		return nil, err
	}
	for _, w := range p.after {
		if err := w.do(); err != nil {
			return nil, err
		}
	}
	return watch.lost()
}

// restoreAll runs all transactions. Where one fails, those before it are undone.
func (p *plan) restoreAll(ctx context.Context, inherit []*os.File) error {
	changed := map[protocol.Family]bool{}
	for _, t := range p.texts {
		err := restore(ctx, t.Family, t.Text, inherit)
		if err == nil {
			changed[t.Family] = true
			continue
		}
		if strings.Count(t.Text, endOfTable) > 1 { // the first transaction of several may be done
			changed[t.Family] = true
		}
		for f := range changed {
			if undo := putBack(context.WithoutCancel(ctx), p.was[f], inherit); undo != nil {
				err = fmt.Errorf("%w; and %s could not be put back: %w", err, f, undo)
			}
		}
		return err
	}
	return nil
}

// restore runs the transactions of a text, each of which is done whole or not at all.
func restore(ctx context.Context, f protocol.Family, text string, inherit []*os.File, more ...string) error {
	args := append(restoreCommand(f), more...)
	_, err := host(args[0], inherit...).Run(ctx, text, args[1:]...)
	return err
}

// putBack restores the rules that a family had.
func putBack(ctx context.Context, was *ruleset, inherit []*os.File) error {
	tables, err := start(ctx, command(was.Family, "-save")).tables()
	if err != nil {
		return err
	}
	if text := transaction(readSaved(was.Family, tables), was); text != "" {
		return restore(ctx, was.Family, text, inherit)
	}
	return nil
}
