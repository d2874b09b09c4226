package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"knockkit/internal/kernel/backend"
	"knockkit/protocol"
	"knockkit/server/events"
)

// Backend executes automata in the kernel. [OpenBackend] returns one for [New]; programs outside
// need no more of it. It has no state, so several goroutines may use one. A caller of Commit has
// the host's lock.
type Backend interface {
	Name() string

	// Live reports whether the kernel holds anything of ours. No tool is run.
	Live(ctx context.Context) (bool, error)

	// Read reads the kernel. Errors: [backend.ErrStale], [ErrPrivilege].
	Read(ctx context.Context, d backend.Depth) (*Reading, error)

	// Clean is the reading of a host where nothing is installed.
	Clean() *Reading

	// Commit does what a plan of one of its readings says: all or nothing. Its tools keep the
	// given files open. It returns the leases that the kernel has pushed out of a full table
	// for those that were given. Errors: [backend.ErrStale]; those of the tools.
	Commit(ctx context.Context, p backend.Plan, inherit ...*os.File) (pushedOut []Source, err error)
}

// What the commands read.
var (
	// depthOfStatus is everything.
	depthOfStatus = backend.Depth{Rules: true, Leases: true, Positions: 1000}

	// depthOfInstall is all that a commit depends on.
	depthOfInstall = backend.Depth{Rules: true, Leases: true}
)

// Server changes and reads one host: the network namespace of the caller.
type Server struct {
	Waiting func(Owner) // called with the knockd that is waited for; nil: nobody is told

	// Acted is called with what was done, when it is committed, and before the lock is free:
	// [events.Tell] tells watchers and the service. nil: nobody is told.
	Acted func(context.Context, []events.Act)

	backend  Backend
	settings Settings
}

// New returns a server with a backend and the settings of knockd.toml.
func New(b Backend, s Settings) *Server { return &Server{backend: b, settings: s} }

// Backend returns the backend that the server uses.
func (s *Server) Backend() Backend { return s.backend }

// Read reads what is installed, who holds what, and whether the rules have drifted. Of the sources
// in a position it lists the newest, at most so many. Errors: those of the backend, the context's.
func (s *Server) Read(ctx context.Context, positions int) (*Reading, error) {
	return s.settled(ctx, backend.Depth{Rules: true, Leases: true, Positions: positions})
}

// settleTime is how long a reading that shows drift waits for another knockd: a commit is several
// transactions, and between them the rules are not those of the record.
const settleTime = 2 * time.Second

// settled reads the kernel. Where it sees drift it reads again under the lock, unless another knockd
// keeps the lock for longer than [settleTime].
func (s *Server) settled(ctx context.Context, d backend.Depth) (*Reading, error) {
	r, err := s.read(ctx, d)
	if err != nil || len(r.Drift) == 0 {
		return r, err
	}
	waiting, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	l, err := TakeLock(waiting)
	if err != nil {
		return r, ctx.Err()
	}
	defer l.Release()
	return s.read(ctx, d)
}

// staleTries is how often the kernel is read, and a change planned from that, because others change
// the kernel meanwhile.
const staleTries = 5

func (s *Server) read(ctx context.Context, d backend.Depth) (r *Reading, err error) {
	for range staleTries {
		if r, err = s.backend.Read(ctx, d); !errors.Is(err, backend.ErrStale) {
			break
		}
	}
	return r, err
}

// commit plans a change from a reading of that depth, and commits it. Where the kernel has changed
// since the reading, it reads and plans again.
func (s *Server) commit(ctx context.Context, r *Reading, d backend.Depth, plan func(*Reading) (backend.Plan, error), inherit ...*os.File) ([]Source, error) {
	for try := 1; ; try++ {
		p, err := plan(r)
		if err != nil {
			return nil, err
		}
		pushedOut, err := s.backend.Commit(ctx, p, inherit...)
		if !errors.Is(err, backend.ErrStale) || try == staleTries {
			return pushedOut, err
		}
		if r, err = s.read(ctx, d); err != nil {
			return nil, err
		}
	}
}

// CheckError says that profiles cannot be installed, alone or together.
type CheckError struct {
	Problems []error // at least one
}

func (e *CheckError) Error() string {
	texts := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		texts[i] = p.Error()
	}
	return strings.Join(texts, "\n")
}

// List returns the problems one by one.
func (e *CheckError) List() []error { return e.Problems }

func (e *CheckError) Unwrap() []error { return e.Problems }

// compile compiles profiles for both families. It fails with a [*CheckError] for profiles that
// cannot be installed, alone or together.
func (s *Server) compile(profiles []*protocol.Profile) (backend.Want, error) {
	var problems []error
	if s.backend.Name() == "iptables" {
		for _, p := range profiles {
			if p.Signed != nil {
				problems = append(problems, &SignedError{p.Name})
			}
			if p.Place == protocol.PlacePrerouting && p.Closed == protocol.ClosedReject {
				problems = append(problems, fmt.Errorf("profile %s: iptables cannot reject before destination NAT: set closed = \"drop\", or backend = \"nftables\" in knockd.toml", p.Name))
			}
		}
	}
	problems = append(problems, protocol.CheckTogether(profiles)...)
	want, err := backend.Compile(profiles, s.settings.Policy)
	if err != nil {
		problems = append(problems, err)
	}
	if len(problems) > 0 {
		return backend.Want{}, &CheckError{problems}
	}
	return want, nil
}

// merge returns the installed profiles with new ones in the place of their namesakes.
func merge(installed, added []*protocol.Profile) []*protocol.Profile {
	all := slices.Clone(added)
	for _, p := range installed {
		if protocol.Find(added, p.Name) == nil {
			all = append(all, p)
		}
	}
	slices.SortFunc(all, protocol.ByName)
	return all
}

// Render returns the texts that Install commits for exactly these profiles where nothing is
// installed. It reads nothing: what Install commits now is in [Change.Texts] of a dry run. Error: a
// [*CheckError].
func (s *Server) Render(profiles []*protocol.Profile) ([]Text, error) {
	want, err := s.compile(profiles)
	if err != nil {
		return nil, err
	}
	plan, err := s.backend.Clean().Plan(want)
	if err != nil {
		return nil, err
	}
	return plan.Texts(), nil
}
