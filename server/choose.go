package server

import (
	"context"
	"fmt"
	"os/exec"

	"knockkit/server/backend"
	"knockkit/server/iptables"
	"knockkit/server/nftables"
)

// OpenBackend returns the backend of that name, and in words which one and why.
// "auto" takes iptables where its tools are.
func OpenBackend(_ context.Context, name string) (b Backend, why string, err error) {
	switch name {
	case "iptables":
		return iptables.New(), "", nil
	case "auto", "":
		if _, err := exec.LookPath("iptables-restore"); err == nil {
			return iptables.New(), "backend iptables: iptables-restore is installed", nil
		}
		return nftables.New(), "backend nftables: iptables-restore is not installed", nil
	case "nftables":
		return nftables.New(), "", nil
	}
	return nil, "", fmt.Errorf("there is no backend %q: %w", name, backend.ErrUnsupported)
}
