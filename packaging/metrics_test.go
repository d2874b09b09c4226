package packaging

import (
	"bytes"
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"knockkit/internal/metrics"
)

const (
	alertsFile    = "prometheus/alerts.yml"
	dashboardFile = "grafana/knockd.json"
)

// alerts is Prometheus' form of a rule file, as far as ours uses it.
type alerts struct {
	Groups []struct {
		Name  string
		Rules []struct {
			Alert, Expr, For    string
			Labels, Annotations map[string]string
		}
	}
}

func readAlerts(t *testing.T) alerts {
	t.Helper()
	decoder := yaml.NewDecoder(bytes.NewReader(read(t, alertsFile)))
	decoder.KnownFields(true) // a misspelt key would be ignored by nobody but us
	var a alerts
	if err := decoder.Decode(&a); err != nil {
		t.Fatalf("%s: %v", alertsFile, err)
	}
	return a
}

// panel is a panel of a dashboard, as far as we look.
type panel struct {
	ID      int
	Title   string
	Targets []struct{ Expr string }
}

type dashboard struct {
	UID        string
	Panels     []panel
	Templating struct {
		List []struct{ Name, Definition string }
	}
}

func readDashboard(t *testing.T) dashboard {
	t.Helper()
	var d dashboard
	if err := json.Unmarshal(read(t, dashboardFile), &d); err != nil {
		t.Fatalf("%s: %v", dashboardFile, err)
	}
	return d
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// name finds names of our metrics in a PromQL expression.
var name = regexp.MustCompile(`\bknockd_[a-z_]+\b`)

// expressions are all that ask for a metric, by where they stand.
func expressions(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, g := range readAlerts(t).Groups {
		for _, r := range g.Rules {
			all["alert "+r.Alert] = r.Expr
		}
	}
	d := readDashboard(t)
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			all["panel "+p.Title+": "+target.Expr] = target.Expr
		}
	}
	for _, v := range d.Templating.List {
		if v.Definition != "" {
			all["variable "+v.Name] = v.Definition
		}
	}
	return all
}

func TestEveryMetricThatIsAskedForExists(t *testing.T) {
	asked := map[string]bool{}
	for where, expr := range expressions(t) {
		names := name.FindAllString(expr, -1)
		if len(names) == 0 && expr != `up{job="knockd"} == 0` {
			t.Errorf("%s asks for no metric of ours: %s", where, expr)
		}
		for _, n := range names {
			asked[n] = true
			if !slices.Contains(metrics.Names(), n) {
				t.Errorf("%s: there is no metric %s", where, n)
			}
		}
	}
	for _, n := range metrics.Names() {
		if !asked[n] {
			t.Errorf("nobody shows %s", n)
		}
	}
}

func TestExpressionsCloseWhatTheyOpen(t *testing.T) {
	for where, expr := range expressions(t) {
		var open []rune
		for _, r := range expr {
			switch i := strings.IndexRune("({[", r); {
			case i >= 0:
				open = append(open, rune(")}]"[i]))
			case strings.ContainsRune(")}]", r):
				if len(open) == 0 || open[len(open)-1] != r {
					t.Fatalf("%s: %s", where, expr)
				}
				open = open[:len(open)-1]
			}
		}
		if len(open) > 0 || strings.Count(expr, `"`)%2 != 0 {
			t.Errorf("%s: %s", where, expr)
		}
	}
}

func TestEveryAlertSaysHowBadItIsAndWhatToDo(t *testing.T) {
	seen := map[string]bool{}
	for _, g := range readAlerts(t).Groups {
		for _, r := range g.Rules {
			if !strings.HasPrefix(r.Alert, "Knockd") || seen[r.Alert] || r.Expr == "" {
				t.Errorf("alert %q: %q", r.Alert, r.Expr)
			}
			seen[r.Alert] = true
			if !slices.Contains([]string{"critical", "warning", "info"}, r.Labels["severity"]) {
				t.Errorf("%s: severity %q", r.Alert, r.Labels["severity"])
			}
			if r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
				t.Errorf("%s does not say what it means", r.Alert)
			}
		}
	}
	if len(seen) == 0 {
		t.Error("there are no alerts")
	}
}

func TestPanelsHaveIDsOfTheirOwn(t *testing.T) {
	seen := map[int]bool{}
	for _, p := range readDashboard(t).Panels {
		if p.ID == 0 || seen[p.ID] || p.Title == "" || len(p.Targets) == 0 {
			t.Errorf("panel %+v", p)
		}
		seen[p.ID] = true
	}
}
