package metrics

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"knockkit/internal/kernel/backend"
	"knockkit/server/events"
)

// Metrics counts notices, and shows them with the kernel's state. Its methods may be called from
// several goroutines.
type Metrics struct {
	registry *prometheus.Registry
	counters map[events.Kind]*prometheus.CounterVec
	byUser   *prometheus.CounterVec
	users    map[string]bool // with a label of their own
	mu       sync.Mutex      // of users
	keys     *prometheus.GaugeVec
	shut     prometheus.Gauge
	bans     prometheus.Counter
	lost     prometheus.Counter
	repairs  prometheus.Counter
	reloadOK prometheus.Gauge
	reloadAt prometheus.Gauge
}

// New returns metrics that are all 0. read is called at each visit of the page, perhaps several
// times at once, and need not read the kernel each time. Its readings have to count positions.
func New(read func(context.Context) (*backend.Reading, error)) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry(), counters: map[events.Kind]*prometheus.CounterVec{}, users: map[string]bool{}}
	in := promauto.With(m.registry)
	for _, c := range []struct {
		kind       events.Kind
		name, help string
	}{
		{events.Knock, Knocks, "Right knocks."},
		{events.Grant, Grants, "Leases that began."},
		{events.Revoke, Revokes, "Leases that an operator ended."},
		{events.Reset, Resets, "Sources that started over by a wrong packet."},
		{events.Expire, expired, "Positions and leases whose time was over."},
		{events.Denied, Denied, "Connections without a lease. The kernel reports at most 100 a second."},
	} {
		m.counters[c.kind] = in.NewCounterVec(prometheus.CounterOpts{Name: c.name, Help: c.help}, []string{labelProfile})
	}
	m.byUser = in.NewCounterVec(prometheus.CounterOpts{Name: SignedGrants, Help: "Leases of signed profiles that began, by who has knocked."}, []string{labelProfile, labelUser})
	m.keys = in.NewGaugeVec(prometheus.GaugeOpts{Name: Keys, Help: "Keys of a signed profile that may open it."}, []string{labelProfile})
	m.shut = in.NewGauge(prometheus.GaugeOpts{Name: SignedShut, Help: "1 while nobody can open a signed profile: tokens may have been used, or could not be loaded."})
	m.bans = in.NewCounter(prometheus.CounterOpts{Name: bans, Help: "Bans that began."})
	m.lost = in.NewCounter(prometheus.CounterOpts{Name: lost, Help: "Events lost because they came faster than they were read."})
	m.repairs = in.NewCounter(prometheus.CounterOpts{Name: Repairs, Help: "Repairs of rules that had been changed."})
	m.reloadOK = in.NewGauge(prometheus.GaugeOpts{Name: ReloadOK, Help: "1 when the last reading of the profiles was installed, 0 when it was refused."})
	m.reloadAt = in.NewGauge(prometheus.GaugeOpts{Name: reloadAt, Help: "When the profiles were last read."})
	m.registry.MustRegister(newKernel(read), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// SetProfiles says which profiles there are: each is counted from 0, so that its first notice is an
// increase.
func (m *Metrics) SetProfiles(profiles []string) {
	for _, vec := range m.counters {
		for _, p := range profiles {
			vec.WithLabelValues(p)
		}
	}
}

// Observe counts a notice.
func (m *Metrics) Observe(i events.Item) {
	if i.Lost > 0 {
		m.lost.Add(float64(i.Lost))
		return
	}
	if n := i.Notice; n.Kind == events.Grant && n.User != "" {
		m.byUser.WithLabelValues(n.Profile, m.label(n.User)).Inc()
	}
	if i.Notice.Kind == events.Ban {
		m.bans.Inc()
	}
	if vec := m.counters[i.Notice.Kind]; vec != nil {
		vec.WithLabelValues(i.Notice.Profile).Inc()
	}
}

// mostUsers is how many users are counted apart. The others are counted together: each label is a
// time series for good.
const mostUsers = 1000

// label returns the label of a user.
func (m *Metrics) label(user string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.users[user] {
		if len(m.users) == mostUsers {
			return "other"
		}
		m.users[user] = true
	}
	return user
}

// SetKeys says how many keys the kernel has for each signed profile, and whether nobody can open those
// now.
func (m *Metrics) SetKeys(of map[string]int, shut bool) {
	m.keys.Reset()
	for profile, n := range of {
		m.keys.WithLabelValues(profile).Set(float64(n))
	}
	m.shut.Set(0)
	if shut {
		m.shut.Set(1)
	}
}

// Repaired counts a repair of the rules.
func (m *Metrics) Repaired() { m.repairs.Inc() }

// Reloaded records whether the last reading of the files was installed.
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

// The metrics' names.
const (
	Knocks    = "knockd_knocks_total"      // by profile
	Grants    = "knockd_grants_total"      // by profile
	Revokes   = "knockd_revokes_total"     // by profile
	Resets    = "knockd_resets_total"      // by profile
	expired   = "knockd_expired_total"     // by profile
	Denied    = "knockd_denied_total"      // by profile
	bans      = "knockd_bans_total"        //
	Keys      = "knockd_keys"              // by profile
	lost      = "knockd_events_lost_total" // events that were too many to read
	Repairs   = "knockd_repairs_total"     // times that the rules were put right
	Leases    = "knockd_leases"            // by profile
	Positions = "knockd_positions"         // by profile
	Banned    = "knockd_banned"
	Profiles  = "knockd_profiles"      // that are installed
	Drift     = "knockd_drift"         // 1 while the rules are not those that were committed
	tableUsed = "knockd_table_entries" // by table
	tableRoom = "knockd_table_limit"   // by table
	ReloadOK  = "knockd_last_reload_success"
	reloadAt  = "knockd_last_reload_timestamp_seconds"

	SignedShut   = "knockd_signed_shut"         // 1 while nobody can open a signed profile
	SignedGrants = "knockd_signed_grants_total" // by profile and user

	ReadOK = "knockd_last_look_success" // 0 when the kernel could not be read for this page
)

// Names lists all of them.
func Names() []string {
	return []string{Knocks, Grants, Revokes, Resets, expired, Denied, bans, lost, Repairs, Leases, Positions, Banned,
		Keys, SignedShut, SignedGrants, Profiles, Drift, tableUsed, tableRoom, ReloadOK, reloadAt, ReadOK}
}

// The labels.
const (
	labelProfile = "profile"
	labelTable   = "table"
	labelUser    = "user"
)

// readTimeout is how long a visit may wait for the kernel.
const readTimeout = 5 * time.Second

// kernel is a reading of the kernel as metrics.
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
		positions: desc(Positions, "Sources in a position.", labelProfile),
		banned:    desc(Banned, "Sources that are banned."),
		profiles:  desc(Profiles, "Profiles that are installed."),
		drift:     desc(Drift, "1 while the rules are not those that were committed."),
		used:      desc(tableUsed, "Addresses in a table of the kernel.", labelTable),
		room:      desc(tableRoom, "Addresses that a table of the kernel has room for.", labelTable),
		ok:        desc(ReadOK, "1 when the kernel could be read for this page."),
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
	for _, s := range backend.LongestLeases(is.Sources) {
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
