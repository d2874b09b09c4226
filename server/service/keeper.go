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
	"knockkit/protocol"
	"knockkit/server"
	"knockkit/server/events"
)

// How often the keeper does what nobody asked for.
const (
	leaseCheck  = 5 * time.Second // while somebody holds a lease, or may hold one that no event tells of
	checkShare  = 100             // … but no more often than makes this part of a processor
	idleCheck   = time.Minute     // in case a change was not told
	checkGap    = time.Second     // least time between two checks
	checkRetry  = 2 * time.Second // after a check or a repair that failed
	reloadRetry = time.Minute     // after an install that failed
)

// WorkLimit is how long one install may take, waiting for another knockd included.
// Nothing is told to systemd's watchdog meanwhile, and else twice in its time: so
// WatchdogSec= has to be more than twice as long.
const WorkLimit = 20 * time.Second

// maxRemembered bounds the memory: as many as a table of nftables holds.
const maxRemembered = 65535

// keeper sees to it that what is wanted is installed. Its run is the only one that
// changes rules, and that knows of its fields.
type keeper struct {
	*Service
	host   Host
	wanted Wanted
	memory *follow.Leases // who held one when the kernel was last seen in order: what a flush would make it forget
	clocks stepper
	cost   time.Duration // of the last check, in processor time
	failed string        // the last failure that was logged, not to log it again and again

	rulesChanged bool            // since the rules of others were read
	shadows      []server.Reason // what was seen then
	reported     []server.Reason // why profiles are not in force, as last logged
}

func newKeeper(s *Service) *keeper { return &keeper{Service: s, memory: follow.New(maxRemembered)} }

// inputs is what the keeper listens to.
type inputs struct {
	events  <-chan events.Item
	files   <-chan string    // why to reload
	due     <-chan struct{}  // somebody has changed rules, perhaps
	asked   <-chan io.Closer // a command waits for a look
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
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-alive:
			k.manager.alive()
		case i, ok := <-from.events:
			if !ok {
				from.events = nil
				continue
			}
			if k.observe(i) { // the first lease: from now on it is looked after
				next.Reset(k.pause(nil))
			}
		case why := <-from.files:
			again = k.reload(ctx, why)
		case <-from.signals:
			again = k.reload(ctx, "SIGHUP")
		case <-again:
			again = k.reload(ctx, "the last time failed")
		case <-from.due:
			k.rulesChanged = true
			next.Reset(max(0, checkGap-time.Since(last)))
		case who := <-from.asked:
			check()
			who.Close()
		case <-next.C:
			check()
		}
	}
}

// pause is how long nothing needs to be looked at.
func (k *keeper) pause(err error) time.Duration {
	switch {
	case err != nil:
		return checkRetry
	case k.memory.Len() > 0 || k.noEvents.Load() || k.noCommands.Load():
		return min(max(leaseCheck, k.cost*checkShare), idleCheck)
	}
	return idleCheck
}

// observe takes in an event, and reports whether the first lease began with it.
func (k *keeper) observe(i events.Item) (first bool) {
	k.metrics.Observe(i)
	e := i.Notice
	switch {
	case i.Lost > 0:
		k.Log.Warn("events were lost", "number", i.Lost, "why", i.Where)
	case e.Kind == events.Grant:
		k.Log.Info("grant", "profile", e.Profile, "address", e.Address, "detail", e.Detail)
		first = k.memory.Len() == 0
		addr, err := netip.ParseAddr(e.Address)
		if p := protocol.Find(k.wanted.Profiles, e.Profile); p != nil && err == nil {
			k.memory.Grant(k.clock().Up, p, addr)
		}
		k.manager.status("%s", k.summary())
	case e.Kind == events.Ban:
		k.Log.Info("ban", "address", e.Address, "detail", e.Detail)
	default:
		k.Log.Debug(string(e.Kind), "profile", e.Profile, "address", e.Address, "detail", e.Detail)
	}
	return first
}

// use makes a server and what it is to install the current ones.
func (k *keeper) use(h Host, w Wanted) {
	k.host, k.wanted = h, w
	k.reader.use(h)
}

// summary is the service in one line, for systemctl status.
func (k *keeper) summary() string {
	return fmt.Sprintf("%s installed, %s remembered", count(len(k.wanted.Profiles), "profile"), count(k.memory.Len(), "lease"))
}

// failure logs what failed, unless it is the same as last time.
func (k *keeper) failure(what string, err error) {
	text := what + ": " + err.Error()
	if text != k.failed && !errors.Is(err, context.Canceled) {
		k.Log.Error(what, "err", err)
	}
	k.failed = text
}

// removeAll takes the rules away when the service ends; ended is how it did.
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
