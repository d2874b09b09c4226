package nftables

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"time"

	"knockkit/protocol"
	"knockkit/server/backend"
)

// Backend is the nftables of the host.
type Backend struct {
	hold *os.File
}

// New returns the backend. It touches nothing.
func New() *Backend { return &Backend{} }

// Name returns "nftables".
func (*Backend) Name() string { return "nftables" }

// Hold makes every tool that the backend starts keep f open. A lock that goes with
// an open file is then held until the tool has ended, also when we are killed.
func (b *Backend) Hold(f *os.File) { b.hold = f }

// command is how a text is committed.
const command = "nft -f -"

// plan returns the transaction that makes want of what is there.
func plan(was *Listing, want backend.Want) string {
	about, err := ReadAbout(was)
	if err != nil {
		// Somebody changed the record. What is wanted is still known; what is lost is
		// which number meant which position, so no number may be used again.
		about = &Installed{Next: highest(was) + 1}
	}
	rules := Render(Input{want, about.Known, about.Next})
	return Transaction(was, rules, append(rewriteLeases(was, about.Profiles, want), carried(want)...))
}

// highest returns the highest number of a position that any source is in.
func highest(l *Listing) Number {
	top := Number(0)
	for _, s := range l.Sets {
		for _, e := range s.Elements {
			if n, err := parseNumber(e.Data); err == nil {
				top = max(top, n)
			}
		}
	}
	for _, n := range positionsOf(l) {
		top = max(top, n)
	}
	return top
}

// Render returns the text that Commit would feed to nft.
func (b *Backend) Render(ctx context.Context, want backend.Want) ([]backend.Text, error) {
	was, err := b.list(ctx)
	if errors.Is(err, backend.ErrPrivilege) || errors.Is(err, backend.ErrUnsupported) {
		// Who may not look can still be shown what a clean host would get.
		was, err = &Listing{}, nil
	}
	if err != nil {
		return nil, err
	}
	return []backend.Text{{Family: protocol.Both, Tool: command, Text: plan(was, want)}}, nil
}

// Commit makes want what is installed, in one transaction.
func (b *Backend) Commit(ctx context.Context, want backend.Want) error {
	if err := b.capable(ctx, want); err != nil {
		return err
	}
	was, err := b.list(ctx)
	if err != nil {
		return err
	}
	return b.feed(ctx, plan(was, want))
}

func (b *Backend) feed(ctx context.Context, text string) error {
	if text == "" {
		return nil
	}
	_, err := b.run(ctx, text, "-f", "-")
	return err
}

// Save returns what is installed as text that [Backend.PutBack] takes.
func (b *Backend) Save(ctx context.Context) ([]backend.Text, error) {
	was, err := b.list(ctx)
	if err != nil {
		return nil, err
	}
	if !was.Exists {
		return []backend.Text{{Family: protocol.Both}}, nil
	}
	text, err := b.run(ctx, "", "list", "table", "inet", TableName)
	return []backend.Text{{Family: protocol.Both, Text: text}}, err
}

// PutBack makes the table of an earlier Save what is installed, with the positions
// and leases of then: the time that has passed since is part of the trial.
func (b *Backend) PutBack(ctx context.Context, texts []backend.Text) error {
	was, err := b.list(ctx)
	if err != nil {
		return err
	}
	text := ""
	if was.Exists {
		text = fmt.Sprintf("delete table inet %s\n", TableName)
	}
	for _, t := range texts {
		text += t.Text
	}
	return b.feed(ctx, text)
}

// Installed reads what the kernel says is installed.
func (b *Backend) Installed(ctx context.Context) (backend.Installed, error) {
	l, err := b.list(ctx)
	if err != nil || !l.Exists {
		return backend.Installed{}, err
	}
	about, err := ReadAbout(l)
	if err != nil {
		return backend.Installed{Drift: []string{err.Error()}}, nil
	}
	return backend.Installed{Profiles: about.Profiles, Policy: about.Policy, Drift: drift(l, about)}, nil
}

// Grant gives a lease now, for the profile's own time (d = 0) or for d.
func (b *Backend) Grant(ctx context.Context, p *protocol.Profile, holder netip.Prefix, d time.Duration) error {
	if d == 0 {
		d = p.Lease
	}
	set, addr := leaseSet(p, protocol.FamilyOf(holder.Addr())), holder.Addr().String()
	return b.feed(ctx, forget(set, addr)+fmt.Sprintf("add element inet %s %s { %s%s }\n", TableName, set, addr, timeout(d)))
}

// forget deletes an element that may not be there: deleting what is not is an error.
func forget(set, addr string) string {
	return fmt.Sprintf("add element inet %[1]s %[2]s { %[3]s }\ndelete element inet %[1]s %[2]s { %[3]s }\n", TableName, set, addr)
}

// Revoke ends the holder's lease, and reports whether there was one.
func (b *Backend) Revoke(ctx context.Context, p *protocol.Profile, holder netip.Prefix) (bool, error) {
	l, err := b.list(ctx)
	if err != nil {
		return false, err
	}
	set := leaseSet(p, protocol.FamilyOf(holder.Addr()))
	held := false
	if s := l.Set(set); s != nil {
		held = slices.ContainsFunc(s.Elements, func(e Element) bool { return e.Key == holder.Addr().String() })
	}
	return held, b.feed(ctx, forget(set, holder.Addr().String()))
}
