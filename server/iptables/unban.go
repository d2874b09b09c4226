package iptables

import (
	"context"
	"net/netip"

	"knockkit/protocol"
	"knockkit/server/backend"
)

// Unban lifts the bans of the sources that which picks, and forgets their falls. It
// returns those that were banned.
func (b *Backend) Unban(ctx context.Context, which func(netip.Addr) bool) ([]netip.Addr, error) {
	sources, err := b.Sources(ctx)
	if err != nil {
		return nil, err
	}
	var lifted []netip.Addr
	for _, s := range sources {
		if s.State == backend.Banned && which(s.Address.Addr()) {
			lifted = append(lifted, s.Address.Addr())
		}
	}
	for _, f := range protocol.Families() {
		t := tables{d: dialect{f}}
		for _, table := range []string{t.banned().name, t.fallen().name} {
			entries, err := readTable(table)
			if err != nil {
				return nil, err
			}
			for _, e := range entries {
				if !which(e.Addr) {
					continue
				}
				if err := writeTable(table, "-"+e.Addr.String()); err != nil {
					return nil, err
				}
			}
		}
	}
	return lifted, nil
}
