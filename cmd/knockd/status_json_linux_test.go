package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// form returns what `status --json` prints: one object without unknown keys.
func (s *site) form(names ...string) (f statusForm) {
	s.t.Helper()
	out := s.must(append([]string{"status", "--json"}, names...)...)
	d := json.NewDecoder(strings.NewReader(out.Stdout))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil || d.More() {
		s.t.Fatalf("%v, or more than an object:\n%s", err, out.Stdout)
	}
	return f
}

// jsonOf returns the same without its types, for keys, and for null where a list has to be.
func (s *site) jsonOf(names ...string) (all map[string]any) {
	s.t.Helper()
	out := s.must(append([]string{"status", "--json"}, names...)...)
	if err := json.Unmarshal([]byte(out.Stdout), &all); err != nil {
		s.t.Fatalf("%v:\n%s", err, out.Stdout)
	}
	return all
}

type (
	object = map[string]any
	list   = []any
)

func TestStatusAsJSONIsOneObjectWithoutNullLists(t *testing.T) {
	atOnce(t, func(t *testing.T, s *site) {
		backend := "iptables"
		if strings.HasSuffix(t.Name(), "/nftables") {
			backend = "nftables"
		}
		nothing := object{"backend": backend, "profiles": list{}, "sources": list{}, "drift": list{}, "foreign": list{}, "tables": list{}}
		if diff := cmp.Diff(nothing, s.jsonOf()); diff != "" {
			t.Errorf("of a host with nothing: %s", diff)
		}
		s.profile("mysql", mysql)
		s.profile("web", web+"lease = \"0\"\n")
		s.profile("gone", strings.NewReplacer("7422", "7497", "80/tcp", "6000-6010/tcp").Replace(web))
		s.must("install")
		s.must("profile", "remove", "gone")
		s.profile("off", "enabled = false\n"+strings.ReplaceAll(web, "7422", "7499"))
		s.profile("new", strings.ReplaceAll(web, "7422", "7498"))
		s.profile("broken", "open = 7\n")
		s.profile("mysql", mysql+"lease = \"2h\"\n")
		s.must("grant", "web", "10.9.0.1")
		s.must("grant", "mysql", "10.9.0.0/24", "--for", "90")

		got := s.jsonOf()
		want := object{"backend": backend, "drift": list{}, "foreign": list{}, "profiles": list{
			object{"name": "broken", "state": "not installed", "open": list{}, "lease": nil, "reasons": list{"the file of profile broken has errors, and it is not installed: knockd profile check broken"}},
			object{"name": "gone", "state": "no file", "open": list{"6000-6010/tcp"}, "lease": 3600.0, "reasons": list{}},
			object{"name": "mysql", "state": "changed", "open": list{"3306/tcp"}, "lease": 3600.0, "reasons": list{"profile mysql was edited since it was installed: knockd install mysql"}},
			object{"name": "new", "state": "not installed", "open": list{"80/tcp"}, "lease": 3600.0, "reasons": list{"profile new is enabled and not installed: knockd install new"}},
			object{"name": "off", "state": "disabled", "open": list{"80/tcp"}, "lease": 3600.0, "reasons": list{}},
			object{"name": "web", "state": "installed", "open": list{"80/tcp"}, "lease": nil, "reasons": list{}},
		}, "sources": list{
			object{"profile": "mysql", "address": "10.9.0.0/24", "state": "open", "step": 3.0, "steps": 3.0, "expires_in": "up to 90"},
			object{"profile": "web", "address": "10.9.0.1", "state": "open", "step": 3.0, "steps": 3.0, "expires_in": nil},
		}}
		given := got["sources"].(list)[0].(object)
		if left, ok := given["expires_in"].(float64); ok && left > 60 && left <= 91 { // a rule ends with a whole second
			given["expires_in"] = "up to 90"
		}
		tables := got["tables"].(list)
		delete(got, "tables")
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		if len(tables) == 0 {
			t.Error("no table has an entry")
		}
		for _, one := range tables {
			table := one.(object)
			entries, _ := table["entries"].(float64)
			limit, _ := table["limit"].(float64)
			if name, _ := table["name"].(string); len(table) != 3 || name == "" || entries < 1 || limit < entries {
				t.Errorf("table %v", table)
			}
		}

		only := s.jsonOf("web")
		for key, want := range map[string]any{"profiles": "web", "sources": "web"} {
			all := only[key].(list)
			name := map[string]string{"profiles": "name", "sources": "profile"}[key]
			if len(all) != 1 || all[0].(object)[name] != want {
				t.Errorf("%s of web alone: %v", key, all)
			}
		}
	})
}

func TestDriftAndWaysInOfOthersAreInTheObjectOfStatus(t *testing.T) {
	eachFlavour(t, func(t *testing.T, s *site) {
		s.profile("mysql", mysql)
		s.must("install")
		s.tool("", "iptables", "-A", "KNOCKD-TCP", "-j", "ACCEPT")
		s.tool("", "iptables", "-A", "INPUT", "-p", "udp", "-j", "KNOCKD-TCP")
		f := s.form()
		if len(f.Drift) != 1 || !strings.Contains(f.Drift[0], "KNOCKD-TCP") {
			t.Errorf("drift: %q", f.Drift)
		}
		if len(f.Foreign) != 1 || !strings.Contains(f.Foreign[0], "-p udp -j KNOCKD-TCP") {
			t.Errorf("foreign: %q", f.Foreign)
		}
		// Each is a reason of every profile that is installed.
		if p := f.Profiles[0]; p.State != "installed" || len(p.Reasons) != 2 || !strings.Contains(p.Reasons[0], f.Drift[0]) || !strings.Contains(p.Reasons[1], f.Foreign[0]) {
			t.Errorf("%+v", p)
		}
	})
}
