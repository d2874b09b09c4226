package server

import (
	"context"
	"fmt"
	"slices"
	"time"

	"knockkit/protocol"
	"knockkit/server/backend"
	"knockkit/server/conns"
)

// Change is what an install or a remove did, or would do.
type Change struct {
	Installed []string // names that were not installed before
	Updated   []string // names whose rules are written anew
	Removed   []string
	From      string         // the backend that held the rules before, "" if this one did
	Kept      []string       // installed before and untouched by this change
	Leases    []string       // what became of leases of profiles that are not what they were: sentences
	Notes     []string       // what the operator should know about the host
	Texts     []backend.Text // with DryRun: what would be committed
	Guard     *Guard         // with Try: undoes the change unless it is told to keep it; holds the lock until then
}

// InstallOptions says how to install.
type InstallOptions struct {
	Exactly bool                                  // what is installed and not named is removed
	DryRun  bool                                  // change nothing; fill Change.Texts
	Guard   func(newly []*protocol.Profile) error // may refuse, before anything is changed
	Try     time.Duration                         // > 0: a [Guard] undoes the change when the kernel has had it for this long
	Carried []backend.Source                      // leases of these profiles that the kernel has lost: they go into the same transaction
}

// Install commits the given profiles beside those that are installed: all of it or
// nothing. Positions and leases are kept, unless a lease would let its holder in where it
// was not given for.
// Errors: a [*CheckError], a [*LockError], those of the backend.
func (s *Server) Install(ctx context.Context, profiles []*protocol.Profile, o InstallOptions) (Change, error) {
	lock, err := s.lock(ctx)
	if err != nil {
		return Change{}, err
	}
	defer func() { lock.Release() }()
	is, err := s.backend.Installed(ctx)
	if err != nil {
		return Change{}, err
	}
	if !o.Exactly && is.Unread != nil {
		return Change{}, fmt.Errorf("what is installed beside this cannot be read and would be lost; name no profile, to install all: %w", is.Unread)
	}
	other, err := s.elsewhere(ctx)
	if err != nil {
		return Change{}, err
	}
	is.Profiles = merge(other.is.Profiles, is.Profiles)
	all := profiles
	if !o.Exactly {
		all = merge(is.Profiles, profiles)
	}
	want, err := s.plan(all)
	if err != nil {
		return Change{}, err
	}
	want.Carried, want.Trial = append(backend.Keep(other.leases, other.is.Profiles, all), o.Carried...), o.Try > 0
	change := compare(is.Profiles, profiles, all)
	newly := newlyGated(is.Profiles, profiles)
	if o.Guard != nil && !o.DryRun {
		if err := o.Guard(newly); err != nil {
			return Change{}, err
		}
	}
	if o.DryRun {
		change.Texts, err = s.backend.Render(ctx, want)
		return change, err
	}
	change.Leases = s.fates(ctx, is.Profiles, all, other.leases)
	if is.Unread != nil {
		change.Leases = append(change.Leases, "what was installed could not be read: how many leases are over is not known")
	}
	if o.Try > 0 && other.backend != nil {
		return Change{}, backend.Unsupported("the rules move from backend %s to %s, which a trial cannot undo", other.backend.Name(), s.backend.Name())
	}
	var guard *Guard
	if o.Try > 0 {
		if guard, err = s.startGuard(ctx, lock, o.Try); err != nil {
			return Change{}, err
		}
		lock = nil // the guard's
	}
	if err := conns.Adopt(newly); err != nil {
		change.Notes = append(change.Notes, fmt.Sprintf("connections that exist to the gated ports may hang: %v", err))
	}
	err = s.backend.Commit(ctx, want)
	if err != nil && guard != nil {
		if undo := guard.Undo(); undo != nil {
			err = fmt.Errorf("%v; and %w", err, undo) // not the error of a commit that changed nothing
		}
	}
	if err != nil {
		return Change{}, err
	}
	if guard != nil {
		change.Guard = guard
		return change, guard.committed()
	}
	if other.backend != nil {
		change.From = other.backend.Name()
	}
	if len(all) > 0 {
		change.Notes = append(change.Notes, s.roomNotes(ctx)...)
	}
	return change, other.handOver(ctx)
}

// Remove takes the named profiles out of the kernel; none named: all, and with
// them every trace. A name that is not installed is [backend.ErrNotInstalled], and
// nothing is changed.
func (s *Server) Remove(ctx context.Context, names []string) (Change, error) {
	lock, err := s.lock(ctx)
	if err != nil {
		return Change{}, err
	}
	defer lock.Release()
	is, err := s.backend.Installed(ctx)
	if err != nil {
		return Change{}, err
	}
	for _, name := range names {
		if !slices.ContainsFunc(is.Profiles, named(name)) {
			return Change{}, fmt.Errorf("profile %s: %w", name, backend.ErrNotInstalled)
		}
	}
	var left []*protocol.Profile
	for _, p := range is.Profiles {
		if len(names) > 0 && !slices.Contains(names, p.Name) {
			left = append(left, p)
		}
	}
	want, err := backend.Compile(left, s.policyOf(is))
	if err != nil {
		return Change{}, err
	}
	return compare(is.Profiles, nil, left), s.backend.Commit(ctx, want)
}

// policyOf keeps the installed policy where profiles stay: only an install brings
// new settings in.
func (s *Server) policyOf(is backend.Installed) protocol.Policy {
	if len(is.Profiles) > 0 {
		return is.Policy
	}
	return s.settings.Policy
}

func compare(was, touched, will []*protocol.Profile) Change {
	var c Change
	for _, p := range will {
		switch {
		case !slices.ContainsFunc(was, named(p.Name)):
			c.Installed = append(c.Installed, p.Name)
		case slices.ContainsFunc(touched, named(p.Name)):
			c.Updated = append(c.Updated, p.Name)
		default:
			c.Kept = append(c.Kept, p.Name)
		}
	}
	for _, p := range was {
		if !slices.ContainsFunc(will, named(p.Name)) {
			c.Removed = append(c.Removed, p.Name)
		}
	}
	return c
}

// newlyGated returns the profiles that may close a port, or cut a connection, which
// the installed version of the profile, if any, does not.
func newlyGated(was, profiles []*protocol.Profile) []*protocol.Profile {
	var all []*protocol.Profile
	for _, p := range profiles {
		i := slices.IndexFunc(was, named(p.Name))
		if i < 0 || !sameGate(was[i], p) {
			all = append(all, p)
		}
	}
	return all
}

// sameGate reports whether two versions of a profile shut out the same packets.
func sameGate(x, y *protocol.Profile) bool {
	return slices.Equal(x.Open, y.Open) && x.Family == y.Family && x.Interface == y.Interface && slices.Equal(x.To, y.To) &&
		x.Place == y.Place && x.Closed == y.Closed && x.Cut == y.Cut && slices.Equal(x.From, y.From)
}
