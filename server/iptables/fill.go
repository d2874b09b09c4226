package iptables

import (
	"cmp"
	"context"
	"errors"
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

// Fill says how full each table is that holds anybody. The rules are read only where
// one is nearly full.
func (b *Backend) Fill(ctx context.Context) ([]backend.Fill, error) {
	limit, err := TableLimit()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // xt_recent comes with the first rule that needs it
	}
	if err != nil {
		return nil, err
	}
	files, err := os.ReadDir(procDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var fills []backend.Fill
	for _, f := range families() {
		var m *meanings
		t := tables{d: dialect{f}}
		for _, file := range files {
			name := file.Name()
			if !strings.HasSuffix(name, t.suffix()) || name == t.clock().name {
				continue
			}
			entries, err := readTable(name)
			if err != nil {
				return nil, err
			}
			fill := backend.Fill{Table: name, Limit: limit, Entries: len(entries)}
			if fill.NearlyFull() {
				if m == nil {
					if m, err = b.meanings(ctx, f); err != nil {
						return nil, err
					}
				}
				fill.Entries -= m.over(name, entries)
			}
			if fill.Entries > 0 {
				fills = append(fills, fill)
			}
		}
	}
	return fills, nil
}

// meanings tells which entries of a family's tables still count.
type meanings struct {
	clock  Clock
	limits map[string]time.Duration       // by table; 0: without end
	leases map[string]map[netip.Addr]bool // by shared table: who has a lease that is noted there
}

func (b *Backend) meanings(ctx context.Context, f protocol.Family) (*meanings, error) {
	saved, err := b.tool(f).save(ctx)
	if err != nil {
		return nil, err
	}
	about, err := ReadAbout(saved.Ours)
	if err != nil {
		return &meanings{}, nil // whose the tables are is not known; Installed says so
	}
	a, err := protocol.Compile(about.Profiles, f)
	if err != nil {
		return nil, err
	}
	m := &meanings{leases: map[string]map[netip.Addr]bool{}}
	if m.clock, err = readClock(ctx, f); err != nil {
		return nil, err
	}
	t := newTables(about.input(a))
	m.limits = t.limits(about.Policy)
	m.limits[t.progress().name] = a.Longest()
	if about.Policy.Ban != nil {
		m.limits[t.fallen().name] = about.Policy.Ban.For
	}
	for _, p := range a.Profiles {
		m.limits[t.passed(p).name] = passedFor
		m.limits[t.used(p).name] = backend.HandshakeTime
		shared, ok := t.holders(p)
		if !ok {
			continue
		}
		if m.leases[shared.name] == nil {
			m.leases[shared.name] = map[netip.Addr]bool{}
		}
		entries, err := readTable(t.lease(p).name)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if !m.clock.over(e, p.Lease) {
				m.leases[shared.name][e.Addr] = true
			}
		}
	}
	return m, nil
}

// over counts the entries that are over and older than any that is not: the kernel
// forgets the oldest first.
func (m *meanings) over(table string, entries []Entry) int {
	limit, known := m.limits[table]
	leases, shared := m.leases[table]
	if !known && !shared {
		return 0
	}
	slices.SortFunc(entries, func(x, y Entry) int { return cmp.Compare(m.clock.Age(y.LastSeen), m.clock.Age(x.LastSeen)) })
	counts := func(e Entry) bool {
		if shared {
			return leases[e.Addr]
		}
		return !m.clock.over(e, limit)
	}
	if n := slices.IndexFunc(entries, counts); n >= 0 {
		return n
	}
	return len(entries)
}

// AnyFull reports whether a table of the family holds as many addresses as it can, over
// or not. No tool is run.
func AnyFull(f protocol.Family) bool {
	limit, err := TableLimit()
	if err != nil {
		return false
	}
	files, err := filepath.Glob(filepath.Join(procDir, "*"+(&tables{d: dialect{f}}).suffix()))
	return err == nil && slices.ContainsFunc(files, func(file string) bool {
		entries, err := readTable(filepath.Base(file))
		return err == nil && len(entries) >= limit
	})
}
