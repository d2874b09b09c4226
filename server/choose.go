package server

import (
	"context"
	"fmt"
	"os/exec"
	"slices"

	"knockkit/internal/rights"
	"knockkit/server/backend"
	"knockkit/server/iptables"
	"knockkit/server/nftables"
)

// OpenBackend returns the backend of that name, and in words which one "auto"
// took and why: iptables where its tools and xt_recent work, else nftables.
func OpenBackend(ctx context.Context, name string) (b Backend, why string, err error) {
	switch name {
	case "iptables":
		return iptables.New(), "", nil
	case "nftables":
		return nftables.New(), "", nil
	case "auto", "":
		lacks := iptablesLacks(ctx)
		if lacks == "" {
			return iptables.New(), "backend iptables: iptables-restore and xt_recent are there", nil
		}
		if _, err := exec.LookPath("nft"); err != nil {
			return nil, "", backend.Unsupported("no backend: %s, and nft is not installed either (Debian: apt install iptables, or nftables)", lacks)
		}
		return nftables.New(), "backend nftables: " + lacks, nil
	}
	return nil, "", fmt.Errorf("there is no backend %q", name)
}

// iptablesLacks says what iptables would need and is not there; "" is nothing.
func iptablesLacks(ctx context.Context) string {
	for _, tool := range []string{"iptables-restore", "iptables-save"} {
		if _, err := exec.LookPath(tool); err != nil {
			return tool + " is not installed"
		}
	}
	if !rights.MayLoadModules() {
		return "" // who may not load a module cannot tell: the commit will
	}
	if iptables.LoadModule(ctx); !iptables.ModuleLoaded() {
		return "the kernel has no xt_recent"
	}
	return ""
}

// OpenLive returns the backend that has something installed: the one that was
// named if it has, else the other, else the one that was named.
func OpenLive(ctx context.Context, name string) (Backend, string, error) {
	b, why, err := OpenBackend(ctx, name)
	if err != nil {
		return nil, "", err
	}
	if is, err := b.Installed(ctx); err != nil || len(is.Profiles) > 0 {
		return b, why, nil // an error is the caller's to meet again
	}
	if other := otherThan(b); other != nil {
		if is, err := other.Installed(ctx); err == nil && len(is.Profiles) > 0 {
			return other, "backend " + other.Name() + ": it is the one that holds rules", nil
		}
	}
	return b, why, nil
}

// otherThan returns the other backend where its tools are, else nil.
func otherThan(b Backend) Backend {
	if b.Name() == "iptables" {
		if _, err := exec.LookPath("nft"); err != nil {
			return nil
		}
		return nftables.New()
	}
	if _, err := exec.LookPath("iptables-save"); err != nil {
		return nil
	}
	return iptables.New()
}

// before is what the other backend has installed when this one takes over.
type before struct {
	backend Backend // nil: nothing
	is      backend.Installed
	leases  []backend.Source
}

// elsewhere reads what the other backend has installed.
func (s *Server) elsewhere(ctx context.Context) (before, error) {
	other := otherThan(s.backend)
	if other == nil {
		return before{}, nil
	}
	is, err := other.Installed(ctx)
	if err != nil || len(is.Profiles) == 0 {
		return before{}, nil // a tool that does not work has installed nothing for us
	}
	sources, err := other.Sources(ctx)
	if err != nil {
		return before{}, fmt.Errorf("reading the leases of backend %s: %w", other.Name(), err)
	}
	leases := slices.DeleteFunc(backend.Longest(sources), func(s backend.Source) bool { return s.State != backend.Open })
	return before{other, is, leases}, nil
}

// handOver removes what the other backend has, once this one's gates are closed
// to strangers and open to the holders of its leases.
func (o before) handOver(ctx context.Context) error {
	if o.backend == nil {
		return nil
	}
	nothing, err := backend.Compile(nil, o.is.Policy)
	if err != nil {
		return err
	}
	return o.backend.Commit(ctx, nothing)
}
