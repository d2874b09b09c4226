package metrics

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"knockkit/internal/kernel/backend"
	"knockkit/protocol"
	"knockkit/server/events"
)

// page is what Prometheus' own parser makes of the page.
func page(t *testing.T, m *Metrics) map[string]*dto.MetricFamily {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(w.Body)
	if err != nil || w.Code != 200 {
		t.Fatalf("status %d, %v", w.Code, err)
	}
	return families
}

func TestEveryNameIsOnThePage(t *testing.T) {
	m := New(func(context.Context) (*backend.Reading, error) {
		return &backend.Reading{
			Installed: backend.Installed{Profiles: []*protocol.Profile{{Name: "mysql"}}, Drift: []string{"one", "another"}},
			Sources:   []backend.Source{{Profile: "mysql", State: backend.Open}, {State: backend.Banned}},
			Fill:      []backend.Fill{{Table: "mysql.open.KNOCKD4", Entries: 1, Limit: 100}},
		}, nil
	})
	m.SetProfiles([]string{"mysql"})
	m.Reloaded(time.Unix(1000, 0), true)
	m.SetKeys(map[string]int{"admin": 2}, true)
	m.Observe(events.Item{Notice: events.Notice{Kind: events.Grant, Profile: "admin", User: "alice"}})
	families := page(t, m)
	for _, name := range Names() {
		if families[name] == nil {
			t.Errorf("%s is missing", name)
		}
	}
	for name := range families {
		if len(name) > 7 && name[:7] == "knockd_" && !slices.Contains(Names(), name) {
			t.Errorf("%s is not among the names", name)
		}
	}
	for name, want := range map[string]float64{Leases: 1, Positions: 0, Banned: 1, Drift: 1, Profiles: 1, tableUsed: 1, tableRoom: 100, ReloadOK: 1, reloadAt: 1000, ReadOK: 1, Keys: 2, SignedShut: 1} {
		if got := families[name].GetMetric()[0].GetGauge().GetValue(); got != want {
			t.Errorf("%s is %v, not %v", name, got, want)
		}
	}
}

func TestEventsAreCountedByProfile(t *testing.T) {
	m := New(func(context.Context) (*backend.Reading, error) { return &backend.Reading{}, nil })
	for _, k := range events.Kinds() {
		m.Observe(events.Item{Notice: events.Notice{Kind: k, Profile: "mysql"}})
	}
	m.Observe(events.Item{Lost: 7})
	m.Repaired()
	families := page(t, m)
	for name, want := range map[string]float64{Knocks: 1, Grants: 1, Revokes: 1, Resets: 1, expired: 1, Denied: 1, bans: 1, lost: 7, Repairs: 1} {
		metric := families[name].GetMetric()[0]
		if got := metric.GetCounter().GetValue(); got != want {
			t.Errorf("%s is %v, not %v", name, got, want)
		}
		if labels := metric.GetLabel(); len(labels) > 0 && labels[0].GetValue() != "mysql" {
			t.Errorf("%s has %v", name, labels)
		}
	}
}

func TestAPageWithoutALookSaysSoAndShowsTheCountersAllTheSame(t *testing.T) {
	m := New(func(context.Context) (*backend.Reading, error) { return nil, errors.New("no") })
	m.Repaired()
	families := page(t, m)
	if families[ReadOK].GetMetric()[0].GetGauge().GetValue() != 0 || families[Leases] != nil || families[Repairs] == nil {
		t.Errorf("%v", families)
	}
}

func TestManyUsersShareOneLabel(t *testing.T) {
	m := New(func(context.Context) (*backend.Reading, error) { return &backend.Reading{}, nil })
	for i := range mostUsers + 5 {
		m.Observe(events.Item{Notice: events.Notice{Kind: events.Grant, Profile: "admin", User: fmt.Sprintf("user%d", i)}})
	}
	all := page(t, m)[SignedGrants].GetMetric()
	if len(all) != mostUsers+1 {
		t.Errorf("there are %d series, not %d", len(all), mostUsers+1)
	}
	for _, series := range all {
		want := 1.0
		if series.GetLabel()[1].GetValue() == "other" {
			want = 5
		}
		if got := series.GetCounter().GetValue(); got != want {
			t.Errorf("%s: %v, not %v", series.GetLabel()[1].GetValue(), got, want)
		}
	}
}
