package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"time"

	"knockkit/internal/follow"
	"knockkit/internal/kernel/backend"
	"knockkit/protocol"
	"knockkit/server"
	"knockkit/server/events"
	"knockkit/server/fleet"
	"knockkit/server/keys"
)

// How often the keeper checks the kernel without being asked.
const (
	leaseCheck  = 5 * time.Second // while there is a lease, or may be one that no notice tells of
	checkShare  = 100             // … but at most so often that it takes this part of a processor
	idleCheck   = time.Minute     // in case a change was not reported
	checkGap    = time.Second     // least time between two checks
	checkRetry  = 2 * time.Second // after a check or a repair that failed
	reloadRetry = time.Minute     // after an install that failed
)

// WorkLimit is how long one install may take, with the wait for another knockd. During it nothing is
// sent to systemd's watchdog, which otherwise gets two messages in its time: so WatchdogSec= has to
// be more than twice as long.
const WorkLimit = 20 * time.Second

// maxRemembered is how many leases are remembered: as many as a set of nftables has room for.
const maxRemembered = 65535

// keeper sees to it that what is wanted is installed. Only its run changes rules, and uses its
// fields.
type keeper struct {
	*Service
	host   Host
	wanted Wanted
	memory *follow.Leases // the leases when the rules were last in order: what a flush would make the kernel forget
	clocks stepper
	cost   time.Duration // processor time of the last check
	failed string        // the last failure that was logged: it is not logged again
	notes  []string      // notes of the last install: those are not logged again

	filesRead time.Time // when the last reading of the folder began, for commands that ask
	filesErr  error     // why what it said was not installed; nil: it was

	member  *member            // nil: no fleet
	batches <-chan fleet.Batch // what its other nodes say; nil: nothing comes
	notices <-chan events.Item // what has happened; nil: nothing comes
	acts    map[string]act     // by profile: what the rules show that differs from the files may be an operator's

	rulesChanged bool            // somebody has changed rules since those of others were read
	shadows      []server.Reason // why gates were useless then
	reported     []server.Reason // why profiles are not in force, as last logged
}

func newKeeper(s *Service) *keeper {
	return &keeper{Service: s, memory: follow.New(maxRemembered), acts: map[string]act{}}
}

// inputs are the channels that the keeper waits for.
type inputs struct {
	events  <-chan events.Item
	files   <-chan string         // why to reload
	due     <-chan struct{}       // somebody may have changed rules
	retold  <-chan struct{}       // the summary has changed
	asked   <-chan io.WriteCloser // a command waits for a check and an answer
	signals <-chan os.Signal
}

// run reloads, checks and repairs until the context ends.
func (k *keeper) run(ctx context.Context, from inputs) error {
	var alive <-chan time.Time
	if every := k.manager.watchdog(); every > 0 {
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		alive = ticker.C
	}
	next := time.NewTimer(k.pause(nil))
	defer next.Stop()
	last := time.Now()         // when the last check ended
	var again <-chan time.Time // when to reload what could not be installed; nil: never
	check := func() {
		worked := processorTime()
		err := k.check(ctx)
		k.cost, last = processorTime()-worked, time.Now()
		next.Reset(k.pause(err))
	}
	k.notices = from.events
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-alive:
			k.manager.alive()
		case i, ok := <-k.notices:
			if !ok {
				k.notices = nil
				continue
			}
			if k.observe(i) { // the first lease: checks are more frequent from now on
				next.Reset(k.pause(nil))
			}
		case b := <-k.batches:
			k.member.take(ctx, b)
			next.Reset(k.pause(nil))
		case why := <-from.files:
			again = k.reload(ctx, why)
		case <-from.signals:
			again = k.reload(ctx, "SIGHUP")
		case <-again:
			again = k.reload(ctx, "the last time failed")
		case <-from.due:
			k.rulesChanged = true
			next.Reset(max(0, checkGap-time.Since(last)))
		case <-from.retold:
			k.manager.status("%s", k.summary())
		case who := <-from.asked:
			check()
			k.answer(who)
		case <-next.C:
			check()
		}
	}
}

// pause is how long until the next check that nobody asks for.
func (k *keeper) pause(err error) time.Duration {
	switch {
	case err != nil:
		return checkRetry
	case k.memory.Len() > 0 || k.noEvents.Load() || k.noCommands.Load():
		return min(max(leaseCheck, k.cost*checkShare), idleCheck)
	}
	return idleCheck
}

// observe takes in a notice, and reports whether it is the first lease.
func (k *keeper) observe(i events.Item) (first bool) {
	k.metrics.Observe(i)
	e := i.Notice
	switch {
	case i.Lost > 0:
		k.Log.Warn("events were lost", "number", i.Lost, "why", i.Where)
	case e.By != nil:
		k.observeAct(e)
	case e.Kind == events.Grant:
		log := k.Log
		if e.User != "" {
			log = log.With("user", e.User)
		}
		log.Info("grant", "profile", e.Profile, "address", e.Address, "detail", e.Detail)
		if e.Key != "" {
			k.keyring.uses.note(e.Key, keys.Use{At: e.Time, From: e.Address})
		}
		first = k.memory.Len() == 0
		addr, err := netip.ParseAddr(e.Address)
		if p := protocol.Find(k.wanted.Profiles, e.Profile); p != nil && err == nil {
			k.memory.Grant(k.clock().Up, p, addr, backend.User{Name: e.User, Key: e.Key})
			if k.member != nil {
				k.member.granted(p, addr, e)
			}
		}
		k.manager.status("%s", k.summary())
	case e.Closed:
		k.Log.Info("given back", "profile", e.Profile, "address", e.Address)
		if holder, err := protocol.ParsePrefix(e.Address); err == nil {
			k.memory.Forget(follow.Key{Profile: e.Profile, Holder: holder})
			if k.member != nil {
				k.member.closed(e.Time, e.Profile, holder)
			}
		}
	case e.Kind == events.Ban:
		k.Log.Info("ban", "address", e.Address, "detail", e.Detail)
	default:
		k.Log.Debug(string(e.Kind), "profile", e.Profile, "address", e.Address, "detail", e.Detail)
	}
	return first
}

// use makes a server, and the profiles to install, the current ones.
func (k *keeper) use(h Host, w Wanted) {
	k.host, k.wanted = h, w
	k.reader.use(h)
}

// summary is the service in one line, for systemctl status.
func (k *keeper) summary() string {
	line := fmt.Sprintf("%s installed, %s remembered", count(len(k.wanted.Profiles), "profile"), count(k.memory.Len(), "lease"))
	if more := k.keyring.summary(); more != "" {
		line += "; " + more
	}
	return line
}

// failure logs what failed, unless it is the same as last time.
func (k *keeper) failure(what string, err error) {
	text := what + ": " + err.Error()
	if text != k.failed && !errors.Is(err, context.Canceled) {
		k.Log.Error(what, "err", err)
	}
	k.failed = text
}

// removeAll removes the rules at the end of the service. ended is the service's error, to which it
// adds its own.
func (k *keeper) removeAll(ended error) error {
	ctx, cancel := context.WithTimeout(context.Background(), exitPatience)
	defer cancel()
	change, err := k.host.Remove(ctx, nil)
	if err == nil {
		k.Log.Info("removed", "profiles", change.Removed)
	}
	return errors.Join(ended, err)
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func names(profiles []*protocol.Profile) []string {
	all := make([]string, len(profiles))
	for i, p := range profiles {
		all[i] = p.Name
	}
	return all
}
