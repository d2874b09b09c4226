package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"knockkit/internal/kernel/backend"
	"knockkit/internal/metrics"
	"knockkit/protocol"
	"knockkit/server"
	"knockkit/server/events"
	"knockkit/server/keys"
)

// Wanted is what the configuration folder says.
type Wanted struct {
	Profiles []*protocol.Profile // enabled, and without an error
	Settings server.Settings
	Broken   []server.BrokenFile // files that cannot be used
	Files    int                 // profile files in the folder, whatever their state
}

// Host is a server as the service uses it: [*server.Server].
type Host interface {
	Install(ctx context.Context, profiles []*protocol.Profile, o server.InstallOptions) (server.Change, error)
	Remove(ctx context.Context, names []string) (server.Change, error)
	Read(ctx context.Context, positions int) (*backend.Reading, error)
	Grant(ctx context.Context, profile string, who netip.Prefix, d time.Duration) (server.Granted, error)
	RefreshKeys(ctx context.Context, r server.KeyRefresh) (server.KeyState, error)
	TakeOutTokens(ctx context.Context, tokens []protocol.Token) error
	ForgetUsers(ctx context.Context) error
	Share(ctx context.Context, d backend.Depth, decide func(*server.Reading) server.Sharing) (server.Shared, error)
}

// Config is what a service needs from its caller.
type Config struct {
	Folder string                                               // whose files are watched
	Load   func() (Wanted, error)                               // reads the folder
	Open   func(context.Context, server.Settings) (Host, error) // the server with these settings

	// Shadows says which rules of others make gates of profiles useless, given readings of the
	// kernel and the network; nil: that is not asked.
	Shadows func(ctx context.Context, r *backend.Reading, n server.Network, profiles []*protocol.Profile) []server.Reason

	// Keys reads the files of keys, in Folder/keys, and says which cannot be used; nil: signed profiles
	// get no tokens. State is what is kept on disk about them.
	Keys  func() (all []keys.Entry, broken []error, err error)
	State KeyStore

	// Fleet returns this host as a node of the fleet that the settings name; nil, or a nil Fleet: there is
	// none.
	Fleet func(server.Settings) (Fleet, error)

	Guard        func(newly []*protocol.Profile) error // may refuse the first install; nil: nothing does
	Reload       <-chan os.Signal                      // SIGHUP
	RemoveOnExit bool                                  // take the rules away at the end
	Log          *slog.Logger
}

// Service looks after the rules of one network namespace.
type Service struct {
	Config
	clock      events.Clock
	reader     *reader
	feed       *events.Feed
	metrics    *metrics.Metrics
	manager    manager
	keyring    *keyring
	retold     chan struct{} // the line for systemctl status has changed; one is enough
	noEvents   atomic.Bool   // no notices come: somebody else has the NFLOG group, or we may not listen
	noCommands atomic.Bool   // commands cannot ask for a check: somebody else has the name
	due        chan struct{} // a check is due; one is enough
}

func newService(c Config, clock events.Clock) *Service {
	s := &Service{Config: c, clock: clock, reader: &reader{clock: clock}, manager: manager{c.Log.Warn}, due: make(chan struct{}, 1), retold: make(chan struct{}, 1)}
	s.feed, s.metrics = events.NewFeed(clock, s.reader.fresh), metrics.New(s.reader.recent)
	s.feed.OnRole = s.logRole
	s.keyring = newKeyring(c, clock, func() { signal(s.retold) })
	s.keyring.metrics = s.metrics
	return s
}

// Run runs the service until the context ends. The rules stay, unless the configuration says
// otherwise. Errors: a [*RunningError], and those that keep the first install from being done. Later
// ones are logged, and the install is tried again.
func Run(ctx context.Context, c Config) error {
	one, err := claimService(ctx)
	if err != nil {
		return err
	}
	defer one.Close()
	s := newService(c, events.SystemClock())
	k := newKeeper(s)
	changed := make(chan string)
	folder := folderTask(c.Folder, changed, c.Log) // watched from now on, so that no change after the first reading is missed
	if err := k.start(ctx); err != nil {
		return err
	}
	watched := s.feed.Hub.WatchAll()
	asked := make(chan io.WriteCloser)
	tasks := []*task{
		newTask("events", s.runFeed),
		folder,
		rulesTask(s.noticeRules),
		newTask("keys", s.keyring.run),
		newTask("commands", func(ctx context.Context, ready func()) error {
			ready()
			return s.acceptNudges(ctx, one, asked)
		}),
		newTask("keeper", func(ctx context.Context, ready func()) error {
			ready()
			return k.run(ctx, inputs{watched.C, changed, s.due, s.retold, asked, c.Reload})
		}),
	}
	if addr := k.wanted.Settings.Metrics; addr.IsValid() {
		tasks = append(tasks, pageTask(addr, s.metrics, c.Log))
	}
	if fleet := k.joinFleet(ctx); fleet != nil {
		tasks = append(tasks, fleet)
	}
	summary := k.summary() // now: from here on the keeper belongs to its task
	err = runAll(ctx, tasks, func() { s.manager.ready(summary) })
	s.manager.stopping()
	if c.RemoveOnExit {
		s.Log.Info("stopping", "why", whyStopped(ctx, err), "rules", "they are taken away")
		return k.removeAll(err)
	}
	rules := "they stay, and knocks still open"
	if slices.ContainsFunc(k.wanted.Profiles, (*protocol.Profile).IsSigned) {
		rules = "they stay, and sequences still open; signed profiles are shut within a minute"
	}
	s.Log.Info("stopping", "why", whyStopped(ctx, err), "rules", rules)
	return err
}

// whyStopped names the signal that has ended the context, which its cause knows, or the failure.
func whyStopped(ctx context.Context, failed error) string {
	cause := context.Cause(ctx)
	if cause == nil {
		return fmt.Sprint(failed)
	}
	if by, ok := cause.(interface{ SignalName() string }); ok {
		return by.SignalName()
	}
	return cause.Error()
}

// runFeed publishes notices. Without the right to listen there are none, and the rules are looked
// after all the same.
func (s *Service) runFeed(ctx context.Context, ready func()) error {
	ready()
	if err := s.feed.Run(ctx); err != nil {
		s.setEvents(false)
		s.Log.Warn("no events: leases are seen only when the kernel is looked at", "err", err)
	}
	<-ctx.Done()
	return nil
}

func (s *Service) logRole(r events.Role, err error) {
	s.setEvents(r != events.Waiting)
	if err != nil {
		s.Log.Warn("events", "role", string(r), "err", err)
		return
	}
	s.Log.Info("events", "role", string(r))
}

// setEvents records whether notices come. Without them, the kernel is checked for leases more often.
func (s *Service) setEvents(events bool) {
	if s.noEvents.Store(!events); !events {
		s.requestCheck()
	}
}

// requestCheck asks the keeper for a check of the kernel, soon.
func (s *Service) requestCheck() { signal(s.due) }

// noticeRules has the kernel looked at after somebody has changed rules. What keeps used tokens out may
// have gone with them.
func (s *Service) noticeRules() {
	s.requestCheck()
	s.keyring.wake(true) // a command that has told the kernel of a key has changed its file before
}

// signal sends to a channel that has room for one, which is enough.
func signal(to chan<- struct{}) {
	select {
	case to <- struct{}{}:
	default: // one is on its way
	}
}

// exitPatience is how long the removal of the rules may take at the end.
const exitPatience = 30 * time.Second

// runAll runs tasks until the context ends or one of them fails. ready is called
// once, when all of them are.
func runAll(ctx context.Context, tasks []*task, ready func()) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, t := range tasks {
		group.Go(func() error {
			if err := t.run(ctx, func() { close(t.ready) }); err != nil && !errors.Is(err, context.Canceled) {
				return fmt.Errorf("%s: %w", t.name, err)
			}
			return nil
		})
	}
	group.Go(func() error {
		for _, t := range tasks {
			select {
			case <-t.ready:
			case <-ctx.Done():
				return nil
			}
		}
		ready()
		return nil
	})
	return group.Wait()
}

// task is one part of the service. Its run calls ready when the part works.
type task struct {
	name  string
	ready chan struct{} // closed when the part works
	run   func(ctx context.Context, ready func()) error
}

func newTask(name string, run func(ctx context.Context, ready func()) error) *task {
	return &task{name, make(chan struct{}), run}
}
