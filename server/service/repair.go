package service

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"knockkit/internal/kernel/backend"
	"knockkit/protocol"
	"knockkit/server"
)

// flushes is how often in a row another tool may flush while leases are put back. firewalld does it
// twice.
const flushes = 5

// check compares the kernel with what is wanted, and repairs it. While all is well it remembers the
// leases.
func (k *keeper) check(ctx context.Context) error {
	snapshot, err := k.reader.fresh(ctx)
	if err != nil {
		k.failure("the kernel cannot be read", err)
		return err
	}
	wrong := k.differences(snapshot.Installed)
	if len(wrong) > 0 && len(snapshot.Drift) == 0 && k.awaitCommand(ctx) { // so a command of ours leaves the rules, too
		if snapshot, err = k.reader.fresh(ctx); err != nil {
			k.failure("the kernel cannot be read", err)
			return err
		}
		wrong = k.differences(snapshot.Installed)
	}
	in, sources := snapshot.Installed, snapshot.Sources
	if len(wrong) == 0 {
		k.forgetActs(snapshot.Began.Up)
		if step := k.clocks.step(snapshot.Began); step != 0 {
			k.Log.Warn("the machine's clock was set", "by", step)
			snapshot = k.keepTimes(ctx, step, snapshot)
		}
		ended := k.memory.Sync(k.clock().Up, snapshot.Began.Up, snapshot.Sources)
		k.keyring.uses.see(snapshot, k.wanted.Profiles)
		k.feed.Offer(snapshot)
		k.failed = ""
		if k.member != nil {
			k.member.checked(ctx, snapshot, ended)
		}
		k.reportInForce(ctx, snapshot.Reading)
		k.manager.status("%s", k.summary())
		return nil
	}
	if w, faster := k.installedBefore(in); faster {
		return k.change(ctx, w)
	}
	acts := k.byHand(in)
	kept, err := k.repair(ctx, in, sources)
	if err != nil {
		k.failure("the rules are not what they should be, and could not be put right", err)
		return err
	}
	k.failed = ""
	clear(k.acts)
	if len(acts) > 0 {
		k.logUndone(acts)
		return nil
	}
	k.metrics.Repaired()
	k.Log.Warn("the rules had been changed, and are put right", "found", strings.Join(wrong, "; "), "leases kept", kept,
		"lost", "the positions of whoever was knocking, where tables were emptied")
	return nil
}

// installedBefore reports whether the kernel has what files say that changed a moment ago: a command
// was faster than we, who wait until files are quiet. It returns what the files say.
func (k *keeper) installedBefore(in backend.Installed) (w Wanted, faster bool) {
	if len(in.Profiles) == 0 || len(in.Drift) > 0 {
		return w, false // it was flushed: leases have to be put back
	}
	w, err := k.read()
	if err != nil || same(k.wanted, w) {
		return w, false
	}
	wants := func(w Wanted, p *protocol.Profile) bool {
		return slices.ContainsFunc(w.Profiles, func(o *protocol.Profile) bool { return sameProfiles([]*protocol.Profile{o}, []*protocol.Profile{p}) })
	}
	return w, !slices.ContainsFunc(in.Profiles, func(p *protocol.Profile) bool { return !wants(w, p) && !wants(k.wanted, p) })
}

// leases counts those among sources.
func leases(sources []backend.Source) int {
	n := 0
	for _, s := range sources {
		if s.State == backend.Open {
			n++
		}
	}
	return n
}

// lost returns the leases that have gone from the kernel before their time.
func (k *keeper) lost(sources []backend.Source) []backend.Source {
	return k.memory.Lost(k.clock().Up, sources, k.wanted.Profiles)
}

// usedUp reports whether a missing lease may have let its one connection in. A record that can be
// read does not prove that no table was lost. So other leases are put back; one of `once`, which
// must not open twice, only where the kernel has certainly forgotten it.
func (k *keeper) usedUp(in backend.Installed, s backend.Source) bool {
	p := protocol.Find(k.wanted.Profiles, s.Profile)
	return p != nil && p.Once && slices.Contains(in.Families, protocol.FamilyOf(s.Address.Addr()))
}

// repair installs what is wanted, with the leases that the kernel has lost, and returns how many
// leases there are. If a tool flushes again meanwhile, leases that the kernel still had are lost
// too, perhaps of one family only: so the kernel is read again.
func (k *keeper) repair(ctx context.Context, in backend.Installed, sources []backend.Source) (kept int, err error) {
	usedUp := func(s backend.Source) bool { return k.usedUp(in, s) }
	kernels := sources
	if len(in.Profiles) > 0 { // else it was flushed, and had what was wanted
		kernels = backend.KeepLeases(sources, in.Profiles, k.wanted.Profiles)
	}
	now := k.clock().Up
	k.memory.Sync(now, now, append(slices.DeleteFunc(k.lost(sources), usedUp), kernels...))
	for range flushes {
		lost := k.lost(sources)
		if err := k.install(ctx, server.InstallOptions{Exactly: true, Carried: lost}, "rules put right"); err != nil {
			return 0, err
		}
		kept = len(lost) + leases(sources)
		again, err := k.reader.fresh(ctx)
		if err != nil || len(k.lost(again.Sources)) == 0 {
			break // the next check reads it
		}
		sources = again.Sources
	}
	return kept, nil
}

// differences says how the kernel differs from what is wanted.
func (k *keeper) differences(in backend.Installed) []string {
	wrong := slices.Clip(in.Drift)
	switch {
	case len(in.Profiles) == 0 && len(k.wanted.Profiles) > 0:
		wrong = append(wrong, "nothing is installed")
	case !sameProfiles(in.Profiles, k.wanted.Profiles):
		wrong = append(wrong, fmt.Sprintf("installed are the profiles %v, wanted are %v, or they are not as in their files", names(in.Profiles), names(k.wanted.Profiles)))
	case len(in.Profiles) > 0 && len(in.Policy.Differs(k.wanted.Settings.Policy)) > 0:
		wrong = append(wrong, "installed with other settings than those of knockd.toml")
	}
	return wrong
}

// freeMemory returns the memory that reading and writing rules took: the service is idle most of its
// life.
func freeMemory() { debug.FreeOSMemory() }

// processorTime is the processor time of this process and of the tools that it ran.
func processorTime() time.Duration {
	var total time.Duration
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var u unix.Rusage
		if err := unix.Getrusage(who, &u); err == nil {
			total += time.Duration(u.Utime.Nano() + u.Stime.Nano())
		}
	}
	return total
}

// reportInForce logs why profiles are not in force, where a repair does not help: when a reason
// comes, and when it is gone. The rules of others are read again only when some rules have changed:
// that takes longer than all the rest.
func (k *keeper) reportInForce(ctx context.Context, is *backend.Reading) {
	network, err := server.ReadNetwork(k.wanted.Profiles)
	if err != nil {
		k.failure("whether `interface` and `to` are right is not known", err)
		return
	}
	if k.rulesChanged && k.Shadows != nil {
		k.shadows = k.Shadows(ctx, is, network, k.wanted.Profiles)
		freeMemory()
	}
	k.rulesChanged = false
	settings := k.wanted.Settings
	settings.Backend = "auto" // it changes with a restart only, and a reload says so
	st := server.StatusOf(is, k.wanted.Profiles, nil)
	st.Drift = nil // a repair has ended it
	reasons := server.NotInForce(st, settings, network, k.shadows)
	for _, r := range reasons {
		if !slices.Contains(k.reported, r) {
			k.Log.Warn("not in force", "profile", r.Profile, "found", r.Found, "do", r.Todo)
		}
	}
	for _, r := range k.reported {
		if !slices.Contains(reasons, r) {
			k.Log.Info("not so any more", "profile", r.Profile, "found", r.Found)
		}
	}
	k.reported = reasons
}
