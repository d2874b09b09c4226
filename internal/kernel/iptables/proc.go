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
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"knockkit/internal/kernel/backend"
	"knockkit/protocol"
)

// procDir is where the kernel shows the recency tables of a network namespace:
// that of the calling thread, which need not be the process's.
const procDir = "/proc/thread-self/net/xt_recent"

// tableNames lists the recency tables of a family that are ours by their names. A table exists as
// long as a rule names it.
func tableNames(f protocol.Family) ([]string, error) {
	dir, err := os.Open(procDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // xt_recent comes with the first rule that needs it
	}
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	return slices.DeleteFunc(names, func(name string) bool { return !strings.HasSuffix(name, suffix(f)) }), err
}

// readTable returns the entries of a table. Error: [fs.ErrNotExist].
func readTable(name string) ([]entry, error) {
	text, err := os.ReadFile(filepath.Join(procDir, name))
	if errors.Is(err, unix.EIO) { // it went after it was opened
		err = fs.ErrNotExist
	}
	if err != nil || len(text) == 0 {
		return nil, err
	}
	entries, err := ParseRecent(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return entries, nil
}

// do writes into a table. Only the machine's own root may, not the root of a user namespace.
func (w write) do() error {
	err := os.WriteFile(filepath.Join(procDir, w.table), []byte(w.op+w.addr.String()+"\n"), 0)
	switch {
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.EIO):
		return fmt.Errorf("no recency table %s: %w", w.table, backend.ErrNotInstalled)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("writing %s: %w", w.table, backend.ErrPrivilege)
	}
	return err
}

// clockGap is the time between the two readings from which the tick rate is told: 300 and 250 ticks
// a second differ by 4 ticks in it, and a reading is wrong by 1 at most.
const clockGap = 80 * time.Millisecond

// ticker learns the kernel's time from an entry that it writes into a table of ours, twice: no file
// says the tick rate on every kernel.
type ticker struct {
	family protocol.Family
	first  uint64 // jiffies
	at     time.Time
	err    error
	rates  *rates
}

func startTicker(f protocol.Family, known *rates) *ticker {
	t := &ticker{family: f, rates: known}
	t.first, t.at, t.err = t.tick()
	return t
}

// rates are the tick rates that were measured. The kernel has one, and a busy machine measures badly.
type rates struct {
	mu    sync.Mutex
	last  int
	alike int // measured one after the other
}

// enough is how many that are alike are believed.
const enough = 3

// sure returns the rate, 0 where it is not known for sure.
func (r *rates) sure() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.alike < enough {
		return 0
	}
	return r.last
}

func (r *rates) add(hz int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if hz != r.last {
		r.last, r.alike = hz, 0
	}
	r.alike++
}

// clock returns the kernel's time.
func (t *ticker) clock(ctx context.Context) (clock, error) {
	if t.err != nil {
		return clock{}, t.err
	}
	hz := t.rates.sure()
	if hz == 0 {
		select {
		case <-time.After(time.Until(t.at.Add(clockGap))):
		case <-ctx.Done():
			return clock{}, ctx.Err()
		}
	}
	second, later, err := t.tick()
	if err != nil {
		return clock{}, err
	}
	if hz == 0 {
		hz = rate(second-t.first, later.Sub(t.at))
		t.rates.add(hz)
	}
	return clock{Now: second, HZ: hz}, nil
}

// tick returns the kernel's jiffies, and the time when that was.
func (t *ticker) tick() (uint64, time.Time, error) {
	probe := netip.IPv6Loopback()
	if t.family == protocol.IPv4 {
		probe = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	name := clockOf(t.family)
	err := write{name, "+", probe}.do()
	now := time.Now()
	var entries []entry
	if err == nil {
		entries, err = readTable(name)
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, backend.ErrNotInstalled) { // flushed a moment ago
		err = backend.ErrStale
	}
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

// watch compares leases before and after a commit: a full recency table forgets its oldest address
// without a word.
type watch struct {
	kernel  kernel // with the clock
	watched []watched
	before  []backend.Source
}

type watched struct {
	m *member
	p *protocol.Profile
}

// watch reads the leases of those profiles whose tables are full and get another address.
func (p *plan) watch(ctx context.Context) (*watch, error) {
	full, has := map[string]bool{}, map[string]map[netip.Addr]bool{} // by table
	for _, w := range slices.Concat(p.before, p.after) {
		if w.op != "+" || p.kernel.limit == 0 {
			continue
		}
		if has[w.table] == nil {
			entries, err := readTable(w.table)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
			has[w.table] = map[netip.Addr]bool{}
			for _, e := range entries {
				has[w.table][e.Addr] = true
			}
		}
		has[w.table][w.addr] = true
		full[w.table] = len(has[w.table]) > p.kernel.limit
	}
	w := &watch{kernel: kernel{now: p.kernel.now}}
	for _, m := range p.kernel.members {
		for _, p := range m.about.Profiles {
			if full[m.about.Leases[p.Name]] || full[m.about.Shared[p.Name]] {
				w.watched = append(w.watched, watched{m, p})
			}
		}
	}
	if len(w.watched) == 0 {
		return w, nil
	}
	var err error
	if w.kernel.clock, err = startTicker(w.watched[0].m.family, p.kernel.rates).clock(ctx); err == nil {
		w.before, err = w.leases()
	}
	return w, err
}

// leases lists the leases now, by the clock of when the watch began.
func (w *watch) leases() ([]backend.Source, error) {
	w.kernel.recency = map[string][]entry{}
	for _, x := range w.watched {
		for _, name := range []string{x.m.about.Leases[x.p.Name], x.m.about.Shared[x.p.Name]} {
			if _, done := w.kernel.recency[name]; done || name == "" {
				continue
			}
			entries, err := readTable(name)
			if err != nil {
				return nil, err
			}
			w.kernel.recency[name] = entries
		}
	}
	shared := map[*member]map[string]map[netip.Addr]bool{}
	var all []backend.Source
	for _, x := range w.watched {
		if shared[x.m] == nil {
			shared[x.m] = w.kernel.inShared(x.m)
		}
		all = append(all, w.kernel.leases(x.m, x.p, shared[x.m])...)
	}
	return all, nil
}

// lost lists the leases that are gone since the watch began.
func (w *watch) lost() ([]backend.Source, error) {
	if len(w.before) == 0 {
		return nil, nil
	}
	after, err := w.leases()
	return slices.DeleteFunc(w.before, func(was backend.Source) bool {
		return slices.ContainsFunc(after, func(is backend.Source) bool { return is.Profile == was.Profile && is.Address == was.Address })
	}), err
}
