package service

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"knockkit/internal/follow"
	"knockkit/internal/kernel/backend"
	"knockkit/internal/kernel/claim"
	"knockkit/protocol"
	"knockkit/server"
	"knockkit/server/events"
)

// lockPatience is how long a check that finds other profiles than wanted waits for the command that
// may be at work. A trial takes longer.
const lockPatience = 2 * time.Second

// act is what an operator did last to a profile: an Install or a Remove.
type act struct {
	events.Notice
	seen time.Duration // when the keeper was told; readings that began later show it
}

// observeAct logs what an operator has done by hand. What was ended by hand no flush brings back.
func (k *keeper) observeAct(e events.Notice) {
	if k.member != nil && e.Act != nil {
		k.member.act(e.Time, *e.Act)
	}
	if e.Kind == events.Scope {
		return
	}
	k.Log.Info(string(e.Kind), "profile", e.Profile, "address", e.Address, "detail", e.Detail, "by", e.By, "uid", e.By.UID, "command", e.By.Command)
	switch e.Kind {
	case events.Revoke:
		if holder, err := protocol.ParsePrefix(e.Address); err == nil {
			k.memory.Forget(follow.Key{Profile: e.Profile, Holder: holder})
		}
	case events.Remove:
		k.memory.ForgetProfile(e.Profile)
		k.acts[e.Profile] = act{e, k.clock().Up}
	case events.Install:
		k.acts[e.Profile] = act{e, k.clock().Up}
	}
}

// awaitCommand waits for a command that is at work, and takes in what commands have told: they tell
// before they give the lock up. It reports whether there was any of that, so that the last reading of
// the kernel may be an old one.
func (k *keeper) awaitCommand(ctx context.Context) (some bool) {
	if some = claim.InUse(claim.Lock); some {
		waiting, cancel := context.WithTimeout(ctx, lockPatience)
		defer cancel()
		if l, err := server.TakeLock(waiting); err == nil {
			l.Release()
		}
	}
	for {
		select {
		case i, ok := <-k.notices:
			if ok {
				k.observe(i)
				some = some || i.Notice.By != nil
				continue
			}
			k.notices = nil
		default:
		}
		return some
	}
}

// forgetActs forgets what a reading, which shows what is wanted, has made history.
func (k *keeper) forgetActs(began time.Duration) {
	for name, a := range k.acts {
		if a.seen < began {
			delete(k.acts, name)
		}
	}
}

// byHand returns what operators did, where that alone is why other profiles are installed than those
// that are wanted.
func (k *keeper) byHand(in backend.Installed) (acts []events.Notice) {
	if len(in.Drift) > 0 || len(in.Profiles) > 0 && len(in.Policy.Differs(k.wanted.Settings.Policy)) > 0 {
		return nil
	}
	done := func(name string, kind events.Kind) (ok bool) {
		a, found := k.acts[name]
		if ok = found && a.Kind == kind; ok {
			acts = append(acts, a.Notice)
		}
		return ok
	}
	for _, p := range k.wanted.Profiles {
		if protocol.Find(in.Profiles, p.Name) == nil && !done(p.Name, events.Remove) {
			return nil
		}
	}
	for _, p := range in.Profiles {
		wanted := protocol.Find(k.wanted.Profiles, p.Name)
		if (wanted == nil || !sameProfiles([]*protocol.Profile{wanted}, []*protocol.Profile{p})) && !done(p.Name, events.Install) {
			return nil
		}
	}
	return acts
}

// logUndone says that the rules are as the files say again, which operators had changed by hand.
func (k *keeper) logUndone(acts []events.Notice) {
	texts := func(of func(events.Notice) string) string {
		var all []string
		for _, a := range acts {
			if text := of(a); !slices.Contains(all, text) {
				all = append(all, text)
			}
		}
		return strings.Join(all, ", ")
	}
	k.Log.Warn("what was done by hand is undone: the rules are as the files say",
		"found", texts(func(a events.Notice) string { return fmt.Sprintf("%s: %s", a.Profile, a.Detail) }),
		"by", texts(func(a events.Notice) string { return a.By.String() }),
		"do", "to keep a profile out, set enabled = false in its file")
}
