package events

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"knockkit/internal/kernel/backend"
)

func TestReportsOfSignedProfilesGetTheirUsersTheLatestLast(t *testing.T) {
	files := article()
	files["admin"] = "signed = { carrier = \"icmp\" }\nopen = [\"22/tcp\"]\n"
	files["wide"] = "signed = { carrier = \"icmp\" }\nopen = [\"23/tcp\"]\nprefix = { ipv4 = 24 }\n"
	s := newTracker(installed(t, files))
	of := func(event backend.Report, profile, from string) report {
		return report{Event: event, Profile: profile, Packet: packet{Source: netip.MustParseAddr(from)}}
	}
	users := func(names ...string) (all []backend.User) {
		for _, name := range names {
			all = append(all, backend.User{Name: name, Key: "key of " + name})
		}
		return all
	}
	reports := []report{
		of(backend.ReportGrant, "admin", "10.9.0.1"), // alice
		of(backend.ReportGrant, "mysql", "10.9.0.1"), // no users
		of(backend.ReportDenied, "admin", "10.9.0.1"),
		of(backend.ReportGrant, "wide", "10.9.0.7"),
		of(backend.ReportGrant, "admin", "10.9.0.1"), // bob, later
		of(backend.ReportGrant, "admin", "10.9.0.2"), // the lease has gone since
	}
	open := func(profile, holder string, by ...backend.User) backend.Source {
		return backend.Source{Profile: profile, Address: netip.MustParsePrefix(holder), State: backend.Open, Users: by}
	}
	s.name(reports, []backend.Source{
		open("admin", "10.9.0.1/32", users("bob", "alice")...),
		open("mysql", "10.9.0.1/32"),
		open("wide", "10.9.0.0/24", users("carol")...),
	})
	var got []string
	for _, r := range reports {
		got = append(got, r.User.Name)
	}
	if diff := cmp.Diff([]string{"alice", "", "", "carol", "bob", ""}, got); diff != "" {
		t.Error(diff)
	}
	if reports[4].User.Key != "key of bob" {
		t.Errorf("the key of the last is %q", reports[4].User.Key)
	}
}
