package main

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"knockkit/internal/lab/labtest"
)

// newSigned returns a site with the signed profile admin, of which alice and bob have leases: alice's
// one key of 10.9.0.1 for 30 minutes, both of 10.9.0.2, alice with another key and bob 20 minutes
// before. 10.9.0.3 has one by hand.
func newSigned(t *testing.T) *served {
	t.Helper()
	labtest.NeedRoot(t)
	labtest.NeedTUN(t)
	labtest.Need(t, "nft")
	s := newServed(t, "nftables")
	s.profile("admin", "signed = { carrier = \"icmp\" }\nopen = [\"2222/tcp\"]\n")
	s.must("install")
	s.must("grant", "admin", "10.9.0.3")
	s.tool(`add element inet knockd users { 1:1 comment "admin alice 1f2e3d4c", 1:2 comment "admin bob 0000000b", 1:3 comment "admin alice 0000000a" }
add element inet knockd open4-admin { 10.9.0.1 timeout 1h expires 30m, 10.9.0.2 timeout 1h expires 50m }
add element inet knockd who4 { 10.9.0.1 . 1:1 timeout 1h expires 30m, 10.9.0.2 . 1:3 timeout 1h expires 50m, 10.9.0.2 . 1:1 timeout 1h expires 40m, 10.9.0.2 . 1:2 timeout 1h expires 30m }
`, "nft", "-f", "-")
	return s
}

func TestStatusSaysWhoHasOpenedALease(t *testing.T) {
	s := newSigned(t)
	table := narrow(s.must("status").Stdout)
	_, sources, _ := strings.Cut(table, "\n\n")
	want := `^ADDRESS USER PROFILE STATE STEPS LEFT
10\.9\.0\.1 alice admin open (29|30)m.*
10\.9\.0\.2 alice admin open (49|50)m.*
10\.9\.0\.2 bob admin open (29|30)m.*
10\.9\.0\.3 admin open (59m.*|1h) ?
$`
	if !regexp.MustCompile(want).MatchString(sources) || !strings.Contains(table, "3 open") {
		t.Errorf("status says\n%s", table)
	}
	var got []string
	for _, x := range s.form().Sources {
		got = append(got, fmt.Sprintf("%s %s %s %.0f", x.Profile, x.Address, x.User, *x.ExpiresIn/600))
	}
	if diff := cmp.Diff([]string{"admin 10.9.0.1 alice 3", "admin 10.9.0.2 alice 5", "admin 10.9.0.2 bob 3", "admin 10.9.0.3  6"}, got); diff != "" {
		t.Error(diff)
	}
	for _, x := range s.jsonOf()["sources"].(list) {
		if _, has := x.(object)["user"]; has != (x.(object)["address"] != "10.9.0.3") {
			t.Errorf("the key user of %v", x)
		}
	}
}

func TestRevokeEndsWhatAUserHasOpened(t *testing.T) {
	s := newSigned(t)
	s.must("grant", "admin", "10.9.0.1", "--for", "2h")
	s.tool("add element inet knockd open4-admin { 10.9.0.1 timeout 1h expires 30m }", "nft", "-f", "-") // another knock of alice
	var both []string
	for _, x := range s.form().Sources {
		if x.Address == "10.9.0.1" {
			both = append(both, fmt.Sprintf("%q %.0f", x.User, *x.ExpiresIn/600))
		}
	}
	if diff := cmp.Diff([]string{`"alice" 3`, `"" 12`}, both); diff != "" { // what it lasts longer is nobody's
		t.Error(diff)
	}
	const see = "knockd: hint: see knockd revoke --help\n"
	for _, c := range []struct {
		words string
		args  []string
	}{
		{"--all and --user exclude each other\n" + see, []string{"admin", "--all", "--user", "alice"}},
		{"--user and an address exclude each other\n" + see, []string{"admin", "10.9.0.1", "--user", "alice"}},
		{"profile mysql is not signed, and has no users\nknockd: hint: end a lease by its address: knockd revoke mysql ADDR\n", []string{"mysql", "--user", "alice"}},
		{"profile other: not installed\nknockd: hint: see: knockd status\n", []string{"other", "--user", "alice"}},
		{"\"Alice\" is no name of a user: lower-case letters, digits, hyphens and underscores, at most 32\nknockd: hint: for example: knockd revoke admin --user alice\n", []string{"admin", "--user", "Alice"}},
	} {
		s.says(2, "knockd: error: "+c.words, append([]string{"revoke"}, c.args...)...)
	}
	s.says(0, "knockd: user carol: no lease of admin that lasts\n", "revoke", "admin", "--user", "carol")
	rounded := regexp.MustCompile(`for \d+[hm][^:]*:`)
	out := s.must("revoke", "admin", "--user", "alice")
	if got, want := rounded.ReplaceAllString(out.Stderr, "for a while:"), "knockd: the lease of 10.9.0.1 for admin goes on for a while: it was given by hand\nknockd: the lease of 10.9.0.2 for admin goes on for a while: bob opened it too\n"; got != want {
		t.Errorf("it says\n%swant\n%s", got, want)
	}
	s.says(0, "knockd: the lease of 10.9.0.2 for admin is over, which bob had opened; connections ended: 0\n", "revoke", "admin", "--user", "bob", "--cut")
	if left := s.form().Sources; len(left) != 2 || left[0].User+left[1].User != "" {
		t.Errorf("left are %+v", left)
	}
}

// TestTheServicePutsLeasesBackWithTheirUsers after a flush by another tool.
func TestTheServicePutsLeasesBackWithTheirUsers(t *testing.T) {
	s := newSigned(t)
	service := s.run()
	s.must("grant", "mysql", "10.9.0.9") // it waits until the service has read the leases
	s.flush()
	service.logs("the rules had been changed")
	s.eventually("the users are back", soon, func() bool {
		users := ""
		for _, x := range s.form().Sources {
			users += x.User + " "
		}
		return strings.HasPrefix(users, "alice alice bob ")
	})
}
