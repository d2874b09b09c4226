package iptables

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"slices"

	"knockkit/protocol"
	"knockkit/server/backend"
)

// watch is what a plan's leases may push out of full recency tables, which forget their
// oldest address without a word.
type watch struct {
	kernel  kernel // with the clock
	watched []watched
	before  []backend.Source
}

type watched struct {
	m *member
	p *protocol.Profile
}

// watch reads who holds a lease that is noted in a table which is full and gets another address.
func (p *plan) watch(ctx context.Context) (*watch, error) {
	full := map[string]bool{}
	for _, w := range slices.Concat(p.before, p.after) {
		if w.op != "+" || p.kernel.limit == 0 {
			continue
		}
		entries, err := readTable(w.table)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		has := slices.ContainsFunc(entries, func(e Entry) bool { return e.Addr == w.addr })
		full[w.table] = full[w.table] || len(entries) >= p.kernel.limit && !has
	}
	w := &watch{kernel: kernel{now: p.kernel.now}}
	for _, m := range p.kernel.members {
		for _, p := range m.about.Profiles {
			if full[m.about.Leases[p.Name]] || full[m.about.Holders[p.Name]] {
				w.watched = append(w.watched, watched{m, p})
			}
		}
	}
	if len(w.watched) == 0 {
		return w, nil
	}
	var err error
	if w.kernel.clock, err = startTicker(w.watched[0].m.family).clock(ctx); err == nil {
		w.before, err = w.leases()
	}
	return w, err
}

// leases lists who holds a lease now, by the clock of when the watch began.
func (w *watch) leases() ([]backend.Source, error) {
	w.kernel.recency = map[string][]Entry{}
	for _, x := range w.watched {
		for _, name := range []string{x.m.about.Leases[x.p.Name], x.m.about.Holders[x.p.Name]} {
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
	noted := map[*member]map[string]map[netip.Addr]bool{}
	var all []backend.Source
	for _, x := range w.watched {
		if noted[x.m] == nil {
			noted[x.m] = w.kernel.noted(x.m)
		}
		all = append(all, w.kernel.leases(x.m, x.p, noted[x.m])...)
	}
	return all, nil
}

// lost lists the leases that are gone since.
func (w *watch) lost() ([]backend.Source, error) {
	if len(w.before) == 0 {
		return nil, nil
	}
	after, err := w.leases()
	return slices.DeleteFunc(w.before, func(was backend.Source) bool {
		return slices.ContainsFunc(after, func(is backend.Source) bool { return is.Profile == was.Profile && is.Address == was.Address })
	}), err
}
