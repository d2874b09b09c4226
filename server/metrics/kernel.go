package metrics

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"knockkit/server/backend"
)

// readTimeout is how long the kernel may be read for a visit.
const readTimeout = 5 * time.Second

// kernel is what a reading of the kernel shows, as metrics.
type kernel struct {
	read func(context.Context) (*backend.Reading, error)

	leases, positions, banned, profiles, drift, used, room, ok *prometheus.Desc
}

func newKernel(read func(context.Context) (*backend.Reading, error)) *kernel {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &kernel{read: read,
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
	ctx, cancel := context.WithTimeout(context.Background(), readTimeout)
	defer cancel()
	is, err := k.read(ctx)
	if err != nil {
		gauge(k.ok, 0)
		return
	}
	gauge(k.ok, 1)
	leases, banned := map[string]int{}, 0
	for _, p := range is.Profiles {
		leases[p.Name] = 0
		gauge(k.positions, is.Knocking[p.Name], p.Name)
	}
	for _, s := range backend.Longest(is.Sources) {
		switch s.State {
		case backend.Open:
			leases[s.Profile]++
		case backend.Banned:
			banned++
		}
	}
	for p, n := range leases {
		gauge(k.leases, n, p)
	}
	gauge(k.banned, banned)
	gauge(k.profiles, len(is.Profiles))
	gauge(k.drift, min(len(is.Drift), 1))
	for _, f := range is.Fill {
		gauge(k.used, f.Entries, f.Table)
		gauge(k.room, f.Limit, f.Table)
	}
}
