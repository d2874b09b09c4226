package server

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"knockkit/protocol"
	"knockkit/server/backend"
	"knockkit/server/claim"
)

// Backend executes automata in the kernel. Its methods are not called side by
// side: the server holds the host's lock meanwhile.
type Backend interface {
	Name() string
	Hold(files ...*os.File)
	Render(ctx context.Context, want backend.Want) ([]backend.Text, error)
	Commit(ctx context.Context, want backend.Want) error
	Installed(ctx context.Context) (backend.Installed, error)
	Sources(ctx context.Context) ([]backend.Source, error)
	Grant(ctx context.Context, p *protocol.Profile, holder netip.Prefix, d time.Duration) error
	Revoke(ctx context.Context, p *protocol.Profile, which func(holder netip.Prefix) bool) (ended, left []netip.Prefix, err error)
	Unban(ctx context.Context, which func(netip.Addr) bool) (lifted []netip.Addr, err error)
}

// Saver is a backend whose rules can be put back as they were.
type Saver interface {
	Save(ctx context.Context) ([]backend.Text, error)
	PutBack(ctx context.Context, texts []backend.Text) error
}

// Server changes and reads one host: the network namespace of the caller.
type Server struct {
	Waiting func(claim.Holder) // is told of another knockd that is waited for; nil: nobody is

	backend  Backend
	settings Settings
}

// New returns a server with a backend and the settings of knockd.toml.
func New(b Backend, s Settings) *Server { return &Server{backend: b, settings: s} }

// Backend returns the backend that the server uses.
func (s *Server) Backend() Backend { return s.backend }

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

// plan compiles profiles for both families, and refuses what cannot be.
func (s *Server) plan(profiles []*protocol.Profile) (backend.Want, error) {
	var problems []error
	for _, p := range profiles {
		switch {
		case p.Signed == nil:
		case s.backend.Name() == "iptables":
			problems = append(problems, fmt.Errorf("profile %s is signed: the kernel can check tokens with nftables only, not with iptables", p.Name))
		default:
			problems = append(problems, fmt.Errorf("profile %s is signed: that is part of the profile format, and no backend checks tokens yet", p.Name))
		}
	}
	if s.backend.Name() == "iptables" {
		for _, p := range profiles {
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
		if !slices.ContainsFunc(added, named(p.Name)) {
			all = append(all, p)
		}
	}
	slices.SortFunc(all, protocol.ByName)
	return all
}

func named(name string) func(*protocol.Profile) bool {
	return func(p *protocol.Profile) bool { return p.Name == name }
}

// Render returns the texts that Install would commit for exactly these profiles.
func (s *Server) Render(ctx context.Context, profiles []*protocol.Profile) ([]backend.Text, error) {
	want, err := s.plan(profiles)
	if err != nil {
		return nil, err
	}
	return s.backend.Render(ctx, want)
}
