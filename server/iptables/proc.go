package iptables

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"knockkit/protocol"
	"knockkit/server/backend"
)

// procDir is where the kernel shows the recency tables of a network namespace:
// that of the calling thread, which need not be the process's.
const procDir = "/proc/thread-self/net/xt_recent"

// readTable returns the entries of a table. No table, no entries.
func readTable(name string) ([]Entry, error) {
	text, err := os.ReadFile(filepath.Join(procDir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	entries, err := ParseRecent(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return entries, nil
}

// occupied lists the tables of a family that hold somebody, or that cannot be read, beside
// those that our rules name: a rule of somebody else's keeps a table after ours are gone.
func occupied(f protocol.Family, named []string) ([]string, error) {
	files, err := os.ReadDir(procDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var found []string
	for _, file := range files {
		name := file.Name()
		if !strings.HasSuffix(name, (&tables{d: dialect{f}}).suffix()) || slices.Contains(named, name) {
			continue
		}
		if entries, err := readTable(name); err != nil || len(entries) > 0 {
			found = append(found, name)
		}
	}
	return found, err
}

// writeTable adds ("+1.2.3.4"), removes ("-1.2.3.4") or clears ("/"). Only the
// machine's own root may: not that of a user namespace.
func writeTable(name, what string) error {
	err := os.WriteFile(filepath.Join(procDir, name), []byte(what+"\n"), 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("no recency table %s: %w", name, backend.ErrNotInstalled)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("writing %s: %w", name, backend.ErrPrivilege)
	}
	return err
}

// clockGap is the time between the two readings that tell the tick rate: 300 and
// 250 ticks a second differ by 4 in it, a reading is wrong by 1 at most.
const clockGap = 80 * time.Millisecond

// readClock learns the kernel's time from an entry that it writes into a table of
// our own, twice: no file says the tick rate on every kernel.
func readClock(ctx context.Context, f protocol.Family) (Clock, error) {
	t := tables{d: dialect{f}}
	name := t.clock().name
	first, at, err := tick(name, f)
	if err != nil {
		return Clock{}, err
	}
	select {
	case <-time.After(clockGap):
	case <-ctx.Done():
		return Clock{}, ctx.Err()
	}
	second, later, err := tick(name, f)
	if err != nil {
		return Clock{}, err
	}
	return Clock{Now: second, HZ: rate(second-first, later.Sub(at))}, nil
}

// tick returns the kernel's jiffies, and when that was.
func tick(name string, f protocol.Family) (uint64, time.Time, error) {
	probe := netip.IPv6Loopback()
	if f == protocol.IPv4 {
		probe = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	if err := writeTable(name, "+"+probe.String()); err != nil {
		return 0, time.Time{}, err
	}
	now := time.Now()
	entries, err := readTable(name)
	if err != nil {
		return 0, time.Time{}, err
	}
	for _, e := range entries {
		if e.Addr == probe {
			return e.LastSeen, now, nil
		}
	}
	return 0, time.Time{}, fmt.Errorf("%s: the kernel lost our own entry", name)
}
