package metrics

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"knockkit/server"
	"knockkit/server/backend"
)

// A look at the kernel runs the host's tools: one serves all visits for a while.
const (
	lookFresh   = 2 * time.Second
	lookTimeout = 5 * time.Second
)

// kernel is what a look at the kernel shows, as metrics.
type kernel struct {
	look func(context.Context) (server.Status, error)

	mu   sync.Mutex
	last server.Status
	err  error
	at   time.Time

	leases, positions, banned, profiles, drift, used, room, ok *prometheus.Desc
}

func newKernel(look func(context.Context) (server.Status, error)) *kernel {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &kernel{look: look,
		leases:    desc(Leases, "Leases that the kernel holds.", labelProfile),
		positions: desc(Positions, "Sources that have knocked right so far.", labelProfile),
		banned:    desc(Banned, "Sources that are banned."),
		profiles:  desc(Profiles, "Profiles that are installed."),
		drift:     desc(Drift, "1 while the rules are not those that were committed."),
		used:      desc(TableUsed, "Addresses in a table of the kernel.", labelTable),
		room:      desc(TableRoom, "Addresses that a table of the kernel can hold.", labelTable),
		ok:        desc(LookOK, "1 when the kernel could be read for this page."),
	}
}

// Describe implements prometheus.Collector.
func (k *kernel) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{k.leases, k.positions, k.banned, k.profiles, k.drift, k.used, k.room, k.ok} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (k *kernel) Collect(to chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v int, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), labels...)
	}
	st, err := k.status()
	if err != nil {
		gauge(k.ok, 0)
		return
	}
	gauge(k.ok, 1)
	leases, positions, banned := map[string]int{}, map[string]int{}, 0
	for _, p := range st.Profiles {
		leases[p.Profile.Name], positions[p.Profile.Name] = 0, 0
	}
	for _, s := range st.Sources {
		switch s.State {
		case backend.Open:
			leases[s.Profile]++
		case backend.Knocking:
			positions[s.Profile]++
		case backend.Banned:
			banned++
		}
	}
	for p, n := range leases {
		gauge(k.leases, n, p)
	}
	for p, n := range positions {
		gauge(k.positions, n, p)
	}
	gauge(k.banned, banned)
	gauge(k.profiles, len(st.Profiles))
	gauge(k.drift, min(len(st.Drift), 1))
	for _, f := range st.Fill {
		gauge(k.used, f.Entries, f.Table)
		gauge(k.room, f.Limit, f.Table)
	}
}

// status looks, or remembers the last look.
func (k *kernel) status() (server.Status, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if time.Since(k.at) > lookFresh {
		ctx, cancel := context.WithTimeout(context.Background(), lookTimeout)
		defer cancel()
		k.last, k.err = k.look(ctx)
		k.at = time.Now()
	}
	return k.last, k.err
}
