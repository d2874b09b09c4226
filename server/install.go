package server

import (
	"context"
	"fmt"
	"slices"
	"time"

	"knockkit/internal/kernel/backend"
	"knockkit/internal/kernel/conns"
	"knockkit/protocol"
	"knockkit/protocol/format"
)

// Change is what an install or a remove did, or would do.
type Change struct {
	Added     []string // names that were not installed before
	Updated   []string // names whose rules are written anew
	Unchanged []string // names that were asked for, and are installed like that already
	Removed   []string
	From      string   // the backend that held the rules before, "" if this one did
	Kept      []string // installed before and untouched by this change
	Settings  []string // the keys of knockd.toml, "strict" and "ban", that are not as at the last install: they hold for all profiles
	Leases    []string // what happened to leases of profiles that were changed: a sentence each
	Notes     []string // what the operator should know about the host
	Texts     []Text   // with DryRun: what would be committed
	Guard     *Guard   // with Try: undoes the change unless it is told to keep it; nobody else installs until then. nil: nothing has changed

	Saved []Saved // what was read of the host's iptables

	added []*protocol.Profile // profiles that may close a port which was open
}

// InstallOptions says how to install.
type InstallOptions struct {
	Exactly bool                                  // what is installed and not named is removed
	DryRun  bool                                  // change nothing; fill Change.Texts
	Guard   func(newly []*protocol.Profile) error // may refuse, before anything is changed
	Try     time.Duration                         // > 0: a [Guard] undoes the change when the kernel has had it for this long
	Carried []Source                              // leases of these profiles that the kernel has lost: they go into the same transaction
}

// Install commits the given profiles beside those that are installed: all of them, or nothing.
// Positions and leases stay, except leases that would open more than they were given for. Errors: a
// [*CheckError], a [*LockError], those of the backend.
func (s *Server) Install(ctx context.Context, profiles []*protocol.Profile, o InstallOptions) (Change, error) {
	lock, err := s.lockInstalls(ctx)
	if err != nil {
		return Change{}, err
	}
	defer lock.Release()
	r, err := s.read(ctx, depthOfInstall)
	if err != nil {
		return Change{}, err
	}
	other, err := s.elsewhere(ctx)
	if err != nil {
		return Change{}, err
	}
	change, want, err := s.prepare(r, other, profiles, o)
	if err != nil {
		return Change{}, err
	}
	first, err := r.Plan(want)
	if err != nil {
		return Change{}, err
	}
	if o.DryRun {
		change.Texts = first.Texts()
		return change, nil
	}
	plan := func(is *Reading) (backend.Plan, error) {
		if is == r {
			return first, nil
		}
		return is.Plan(want)
	}
	if o.Guard != nil {
		if err := o.Guard(change.added); err != nil {
			return Change{}, err
		}
	}
	inherit := lock.files()
	if o.Try > 0 && len(first.Texts()) > 0 {
		if change.Guard, err = s.startGuard(ctx, r, lock, o.Try); err != nil {
			return Change{}, err
		}
		inherit = append(inherit, change.Guard.orders)
	}
	if err := conns.Adopt(change.added); err != nil {
		change.Notes = append(change.Notes, fmt.Sprintf("connections that exist to the gated ports may hang: %v", err))
	}
	if _, err := s.commit(ctx, r, depthOfInstall, plan, inherit...); err != nil {
		lock.Release() // the guard needs it
		return Change{}, change.Guard.giveUp(err)
	}
	s.tell(ctx, change.acts(o.Try)...)
	if change.Guard != nil {
		change.Guard.kept = func() { s.tell(context.WithoutCancel(ctx), endOfTrial(change, "kept")...) }
		return change, change.Guard.committed(lock)
	}
	if len(change.Removed) == 0 || len(change.Added)+len(change.Updated)+len(change.Unchanged)+len(change.Kept) > 0 {
		change.Notes = append(change.Notes, s.roomNotes(ctx, r.Fill)...)
	}
	return change, other.handOver(ctx, inherit...)
}

// prepare says what an install would change, and what it wants in the kernel.
func (s *Server) prepare(r *Reading, other elsewhere, profiles []*protocol.Profile, o InstallOptions) (Change, backend.Want, error) {
	if !o.Exactly && r.Unread != nil {
		return Change{}, backend.Want{}, fmt.Errorf("what is installed beside this cannot be read and would be lost; name no profile, to install all: %w", r.Unread)
	}
	was := merge(other.profiles(), r.Profiles)
	all := profiles
	if !o.Exactly {
		all = merge(was, profiles)
	}
	want, err := s.compile(all)
	if err != nil {
		return Change{}, backend.Want{}, err
	}
	carried := other.leases()
	want.Carried, want.Trial = append(backend.KeepLeases(carried, other.profiles(), all), o.Carried...), o.Try > 0
	touched, settings := profiles, []string(nil)
	if len(was) > 0 {
		settings = other.policy(r).Differs(s.settings.Policy)
	}
	if len(settings) > 0 {
		touched = all // the machine of each is another one
	}
	change := compare(was, touched, all)
	change.Settings = settings
	if other.backend == nil && r.Unread == nil && len(r.Drift) == 0 && len(settings) == 0 {
		change.findUnchanged(was, profiles)
	}
	change.added, change.Saved = NewlyGated(was, profiles), r.Saved
	change.Leases = LeaseChanges(was, all, slices.Concat(r.Sources, carried))
	for _, rule := range r.Foreign {
		change.Notes = append(change.Notes, foreignReason(rule).String())
	}
	if r.Unread != nil {
		change.Leases = append(change.Leases, "what was installed could not be read: how many leases are over is not known")
	}
	if other.backend != nil {
		change.From = other.backend.Name()
		if o.Try > 0 {
			err = backend.Unsupported("the rules move from backend %s to %s, which a trial cannot undo", change.From, s.backend.Name())
		}
	}
	return change, want, err
}

// Remove takes the named profiles out of the kernel; none named: all, and with them every trace.
// Errors: [ErrNotInstalled] where one of the names is not installed, and then nothing is changed; a
// [*LockError]; those of the backend.
func (s *Server) Remove(ctx context.Context, names []string) (Change, error) {
	lock, err := s.lockInstalls(ctx)
	if err != nil {
		return Change{}, err
	}
	defer lock.Release()
	r, err := s.read(ctx, depthOfInstall)
	if err != nil {
		return Change{}, err
	}
	for _, name := range names {
		if protocol.Find(r.Profiles, name) == nil {
			return Change{}, fmt.Errorf("profile %s: %w", name, ErrNotInstalled)
		}
	}
	var left []*protocol.Profile
	for _, p := range r.Profiles {
		if len(names) > 0 && !slices.Contains(names, p.Name) {
			left = append(left, p)
		}
	}
	want, err := backend.Compile(left, s.policyOf(r.Installed))
	if err != nil {
		return Change{}, err
	}
	if _, err = s.commit(ctx, r, depthOfInstall, func(r *Reading) (backend.Plan, error) { return r.Plan(want) }, lock.files()...); err != nil {
		return Change{}, err
	}
	change := compare(r.Profiles, nil, left)
	s.tell(ctx, change.acts(0)...)
	return change, nil
}

// policyOf returns the installed policy where profiles stay: only an install brings new settings in.
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
		case protocol.Find(was, p.Name) == nil:
			c.Added = append(c.Added, p.Name)
		case protocol.Find(touched, p.Name) != nil:
			c.Updated = append(c.Updated, p.Name)
		default:
			c.Kept = append(c.Kept, p.Name)
		}
	}
	for _, p := range was {
		if protocol.Find(will, p.Name) == nil {
			c.Removed = append(c.Removed, p.Name)
		}
	}
	return c
}

// findUnchanged moves profiles that are installed as they are wanted from Updated to Unchanged.
func (c *Change) findUnchanged(was, wanted []*protocol.Profile) {
	c.Updated = slices.DeleteFunc(c.Updated, func(name string) bool {
		same := format.Canonical(protocol.Find(was, name)) == format.Canonical(protocol.Find(wanted, name))
		if same {
			c.Unchanged = append(c.Unchanged, name)
		}
		return same
	})
}

// NewlyGated returns the profiles that may close a port, or cut a connection, which
// the installed version of the profile, if any, does not.
func NewlyGated(was, profiles []*protocol.Profile) []*protocol.Profile {
	var all []*protocol.Profile
	for _, p := range profiles {
		if old := protocol.Find(was, p.Name); old == nil || !sameGate(old, p) {
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

// LeaseChanges says what an install does to the leases of the profiles that it changes: a sentence
// for each, none where nothing happens to them. sources are those from before it, and are sorted.
func LeaseChanges(was, will []*protocol.Profile, sources []Source) []string {
	type pair struct{ was, will *protocol.Profile }
	var changed []pair
	for _, p := range will {
		old := protocol.Find(was, p.Name)
		ends := func(f protocol.Family) bool { return backend.LeasesEnd(old, p, f) != "" }
		if old != nil && (!sameSequence(old, p) || slices.ContainsFunc(protocol.Families(), ends)) {
			changed = append(changed, pair{old, p})
		}
	}
	if len(changed) == 0 {
		return nil
	}
	backend.Sort(sources)
	sources = backend.LongestLeases(sources)
	var all []string
	for _, c := range changed {
		over, on, why := 0, 0, ""
		for _, l := range sources {
			if l.Profile != c.will.Name || l.State != Open {
				continue
			}
			if beyond := backend.LeasesEnd(c.was, c.will, protocol.FamilyOf(l.Address.Addr())); beyond != "" {
				over, why = over+1, beyond
			} else {
				on++
			}
		}
		if over > 0 {
			all = append(all, fmt.Sprintf("%s: %s over (%s)", c.will.Name, leases(over, "is", "are"), why))
		}
		if on > 0 && !sameSequence(c.was, c.will) {
			what := "the sequence is another one"
			if c.was.Signed != nil || c.will.Signed != nil {
				what = "other knocks open it"
			}
			all = append(all, fmt.Sprintf("%s: %s, and %s on; to end them: knockd revoke %s --all", c.will.Name, what, leases(on, "goes", "go"), c.will.Name))
		}
	}
	return all
}

func leases(n int, one, several string) string {
	if n == 1 {
		return "1 lease " + one
	}
	return fmt.Sprintf("%d leases %s", n, several)
}

func sameSequence(x, y *protocol.Profile) bool {
	return slices.Equal(x.Knocks(), y.Knocks()) && (x.Signed == nil) == (y.Signed == nil)
}
