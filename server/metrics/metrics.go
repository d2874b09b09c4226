package metrics

import (
	"context"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"knockkit/server/backend"
	"knockkit/server/events"
)

// Metrics counts events, and shows them with the kernel's state. All methods may be
// called from several goroutines.
type Metrics struct {
	registry *prometheus.Registry
	counters map[events.Kind]*prometheus.CounterVec
	bans     prometheus.Counter
	lost     prometheus.Counter
	repairs  prometheus.Counter
	reloadOK prometheus.Gauge
	reloadAt prometheus.Gauge
}

// New returns metrics that are all 0. read is called for each visit of the page, perhaps for
// several at once, and need not read the kernel each time. It has to know how full tables are.
func New(read func(context.Context) (*backend.Reading, error)) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry(), counters: map[events.Kind]*prometheus.CounterVec{}}
	for _, c := range []struct {
		kind       events.Kind
		name, help string
	}{
		{events.Knock, Knocks, "Right knocks."},
		{events.Grant, Grants, "Leases that began."},
		{events.Reset, Resets, "Sources that started over by a wrong packet."},
		{events.Expire, Expired, "Positions and leases whose time was over."},
		{events.Denied, Denied, "Connections without a lease. The kernel reports at most 100 a second."},
	} {
		vec := prometheus.NewCounterVec(prometheus.CounterOpts{Name: c.name, Help: c.help}, []string{labelProfile})
		m.counters[c.kind] = vec
		m.registry.MustRegister(vec)
	}
	m.bans = m.counter(Bans, "Bans that began.")
	m.lost = m.counter(Lost, "Events that came faster than they were read.")
	m.repairs = m.counter(Repairs, "Times that the rules were put right after they had been changed.")
	m.reloadOK = m.gauge(ReloadOK, "1 when the last reading of the profiles was installed, 0 when it was refused.")
	m.reloadAt = m.gauge(ReloadAt, "When the profiles were last read.")
	m.registry.MustRegister(newKernel(read), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *Metrics) counter(name, help string) prometheus.Counter {
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	m.registry.MustRegister(c)
	return c
}

func (m *Metrics) gauge(name, help string) prometheus.Gauge {
	g := prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	m.registry.MustRegister(g)
	return g
}

// Installed says which profiles there are: each is counted from 0, so that the
// first event is seen as an increase.
func (m *Metrics) Installed(profiles []string) {
	for _, vec := range m.counters {
		for _, p := range profiles {
			vec.WithLabelValues(p)
		}
	}
}

// Observe counts an event.
func (m *Metrics) Observe(i events.Item) {
	if i.Lost > 0 {
		m.lost.Add(float64(i.Lost))
		return
	}
	if i.Event.Kind == events.Ban {
		m.bans.Inc()
	}
	if vec := m.counters[i.Event.Kind]; vec != nil {
		vec.WithLabelValues(i.Event.Profile).Inc()
	}
}

// Repaired counts a repair of the rules.
func (m *Metrics) Repaired() { m.repairs.Inc() }

// Reloaded notes how a reading of the profiles ended.
func (m *Metrics) Reloaded(at time.Time, ok bool) {
	m.reloadAt.Set(float64(at.UnixMilli()) / 1000)
	m.reloadOK.Set(0)
	if ok {
		m.reloadOK.Set(1)
	}
}

// Handler returns the page.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 10 * time.Second})
}
