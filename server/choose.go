package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"

	"knockkit/internal/kernel/backend"
	"knockkit/internal/kernel/iptables"
	"knockkit/internal/kernel/nftables"
	"knockkit/internal/rights"
	"knockkit/protocol"
)

// both returns the backends in the order in which "auto" prefers them.
func both() []Backend { return []Backend{iptables.New(), nftables.New()} }

// OpenBackend returns the backend of that name. For "auto" or "" it takes the one that has rules in
// the kernel, else nftables where one of the profiles that it is for is signed, else iptables where a
// rule with `-m recent` can be committed, else nftables; why says in words which, and why. Errors:
// [ErrUnsupported] where none works, the context's, an unknown name.
func OpenBackend(ctx context.Context, name string, profiles ...*protocol.Profile) (b Backend, why string, err error) {
	if name != "auto" && name != "" {
		i := slices.IndexFunc(both(), func(b Backend) bool { return b.Name() == name })
		if i < 0 {
			return nil, "", fmt.Errorf("there is no backend %q", name)
		}
		return both()[i], "", nil
	}
	signed := slices.IndexFunc(profiles, (*protocol.Profile).IsSigned)
	live, err := withRules(ctx)
	switch {
	case errors.Is(err, ErrPrivilege) && signed >= 0:
		return nftables.New(), "backend nftables, as far as can be told without root", nil
	case errors.Is(err, ErrPrivilege): // rules can be shown without a privilege
		return iptables.New(), "backend iptables, as far as can be told without root", nil
	case err != nil:
		return nil, "", err
	case len(live) > 0:
		return live[0], "backend " + live[0].Name() + ": it is the one that holds rules", nil
	case signed >= 0:
		if _, err := exec.LookPath("nft"); err != nil {
			return nil, "", backend.Unsupported("profile %s is signed, which only nftables can check, and nft is not installed (Debian: apt install nftables)", profiles[signed].Name)
		}
		return nftables.New(), fmt.Sprintf("backend nftables: profile %s is signed, and iptables cannot check tokens", profiles[signed].Name), nil
	}
	lacks := tryIptables(ctx)
	switch {
	case ctx.Err() != nil:
		return nil, "", ctx.Err()
	case lacks == nil:
		return iptables.New(), "backend iptables: a rule with `-m recent` can be committed", nil
	case errors.Is(lacks, ErrPrivilege):
		return iptables.New(), "backend iptables, as far as can be told without root", nil
	}
	if _, err := exec.LookPath("nft"); err != nil {
		return nil, "", backend.Unsupported("no backend: %w, and nft is not installed either (Debian: apt install iptables, or nftables)", lacks)
	}
	return nftables.New(), fmt.Sprintf("backend nftables: %v", lacks), nil
}

// SignedError says that a signed profile cannot be installed with iptables.
type SignedError struct {
	Profile string
}

func (e *SignedError) Error() string {
	return fmt.Sprintf("profile %s is signed: the kernel can check tokens with nftables only, not with iptables", e.Profile)
}

// tryIptables commits a rule with `-m recent`, and returns why that failed; nil: it did not. It does
// so in a network namespace of its own, or where none can be made, on the host.
func tryIptables(ctx context.Context) error {
	try := func() error { return iptables.Try(ctx) }
	err := rights.InEmptyNetwork(try)
	if errors.Is(err, rights.ErrNoNetwork) {
		return try()
	}
	return err
}

// OpenLive returns the backend that has rules in the kernel. It is the named one if both have rules,
// or none has. Errors: those of [OpenBackend].
func OpenLive(ctx context.Context, name string) (Backend, string, error) {
	live, err := withRules(ctx)
	switch {
	case err != nil && !errors.Is(err, ErrPrivilege):
		return nil, "", err
	case slices.ContainsFunc(live, func(b Backend) bool { return b.Name() == name }):
		return OpenBackend(ctx, name)
	case len(live) > 0:
		return live[0], "backend " + live[0].Name() + ": it is the one that holds rules", nil
	case name == "auto", name == "":
		return iptables.New(), "", nil // nothing is installed, with either
	}
	return OpenBackend(ctx, name)
}

// withRules returns the backends that have something in the kernel.
func withRules(ctx context.Context) (live []Backend, err error) {
	for _, b := range both() {
		has, failed := b.Live(ctx)
		if has {
			live = append(live, b)
		}
		err = errors.Join(err, failed)
	}
	if len(live) > 0 {
		err = nil // it is known which
	}
	return live, err
}

// elsewhere is what the other backend has installed when this one takes over.
type elsewhere struct {
	backend Backend // nil: nothing
	reading *Reading
}

// elsewhere reads what the other backend has installed.
func (s *Server) elsewhere(ctx context.Context) (elsewhere, error) {
	for _, b := range both() {
		if b.Name() == s.backend.Name() {
			continue
		}
		live, err := b.Live(ctx)
		if err != nil || !live {
			return elsewhere{}, err
		}
		r, err := New(b, Settings{}).read(ctx, depthOfInstall)
		if err != nil {
			return elsewhere{}, fmt.Errorf("reading what backend %s holds: %w", b.Name(), err)
		}
		if len(r.Profiles) > 0 {
			return elsewhere{b, r}, nil
		}
	}
	return elsewhere{}, nil
}

func (o elsewhere) profiles() []*protocol.Profile {
	if o.backend == nil {
		return nil
	}
	return o.reading.Profiles
}

// policy returns what is installed, here as r says, or else there.
func (o elsewhere) policy(r *Reading) protocol.Policy {
	if len(r.Profiles) == 0 && o.backend != nil {
		return o.reading.Policy
	}
	return r.Policy
}

func (o elsewhere) leases() []Source {
	if o.backend == nil {
		return nil
	}
	return slices.DeleteFunc(backend.LongestLeases(o.reading.Sources), func(s Source) bool { return s.State != Open })
}

// handOver removes the other backend's rules. By then the gates of this one are shut to strangers
// and open to the holders of its leases.
func (o elsewhere) handOver(ctx context.Context, inherit ...*os.File) error {
	if o.backend == nil {
		return nil
	}
	nothing, err := backend.Compile(nil, o.reading.Policy)
	if err != nil {
		return err
	}
	s := New(o.backend, Settings{})
	_, err = s.commit(ctx, o.reading, depthOfInstall, func(r *Reading) (backend.Plan, error) { return r.Plan(nothing) }, inherit...)
	return err
}
