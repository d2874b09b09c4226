package main

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
)

// TestInstallSaysWhatBecomesOfLeases: how many are over, how many go on, and how those end.
func TestInstallSaysWhatBecomesOfLeases(t *testing.T) {
	eachBackend(t, func(t *testing.T, s *served) {
		again := func(more string) string { return "knockd: installed again: mysql (" + s.backend + ")\n" + more }
		s.profile("mysql", mysql)
		s.must("install")
		for _, src := range []netip.Addr{lab.ForgedAddr4(1), lab.ForgedAddr6(1)} {
			s.knock(src, "7421/tcp", "3190/udp", "9002/tcp")
		}
		s.must("grant", "mysql", "10.9.0.2", "--for", "30m")
		s.says(0, "knockd: unchanged: mysql ("+s.backend+")\n", "install", "mysql")

		s.profile("mysql", strings.ReplaceAll(mysql, "9002", "9003"))
		s.says(0, again("knockd: mysql: the sequence is another one, and 3 leases go on; to end them: knockd revoke mysql --all\n"), "install", "mysql")
		s.says(0, "knockd: the lease of 10.9.0.2 for mysql is over\n", "revoke", "mysql", "10.9.0.2")
		s.profile("mysql", strings.ReplaceAll(mysql, `"3306/tcp"`, `"3306/tcp", "3307/tcp"`))
		s.says(0, again("knockd: mysql: 2 leases are over (not given for 3307/tcp)\n"), "install", "mysql")
		if s.answers(lab.ForgedAddr4(1)) || s.answers(lab.ForgedAddr6(1)) {
			t.Error("a lease that is said to be over lets its holder in")
		}
		s.profile("mysql", mysql)
		s.says(0, again(""), "install", "mysql")
		if left := s.form().Sources; len(left) != 0 {
			t.Errorf("status: %v", left)
		}
	})
}

// TestRevokeEndsAllLeases of a profile, and with --cut all connections to its ports.
func TestRevokeEndsAllLeases(t *testing.T) {
	eachBackend(t, func(t *testing.T, s *served) {
		s.profile("web", "sequence = [\"7001/tcp\"]\nopen = [\"80/tcp\"]\n")
		s.must("install")
		for _, src := range []netip.Addr{lab.ForgedAddr4(1), lab.ForgedAddr6(1)} {
			s.knock(src, "icmp", "7/tcp", "8000/tcp")
			s.must("grant", "web", src.String())
		}
		s.must("grant", "mysql", "10.9.0.1", "--for", "30m") // beside the one by a knock: still one
		s.must("grant", "mysql", "10.9.16.0/20")
		s.must("grant", "mysql", "2001:db8:9:8::/64", "--for", "30m")
		if !s.answers(lab.ForgedAddr4(1)) || !s.answers(lab.ForgedAddr6(1)) {
			t.Fatal("a lease opens nothing")
		}
		// The wire answers no SYN/ACK: what there is to end is no connection yet.
		s.says(0, "knockd: leases of mysql that are over: 4; connections ended: 0\n", "revoke", "mysql", "--all", "--cut")
		if s.answers(lab.ForgedAddr4(1)) || s.answers(lab.ForgedAddr6(1)) || s.answers(netip.MustParseAddr("10.9.16.1")) {
			t.Error("a lease is left")
		}
		s.says(0, "knockd: leases of mysql that are over: 0\n", "revoke", "--all", "mysql")
		if out := narrow(s.must("status").Stdout); !strings.Contains(out, "80/tcp 1h 2 open") {
			t.Errorf("another profile's leases:\n%s", out)
		}
		s.must("status", "--check")
		s.says(2, "knockd: error: --all and an address exclude each other\nknockd: hint: see knockd revoke --help\n", "revoke", "mysql", "10.9.0.1", "--all")
		s.says(2, "knockd: error: knockd revoke takes a profile and an address or prefix\nknockd: hint: see knockd revoke --help\n", "revoke", "mysql")
	})
}

// TestALeaseOfAPrefix is one for all of it, until its time is over or it is revoked.
func TestALeaseOfAPrefix(t *testing.T) {
	eachBackend(t, func(t *testing.T, s *served) {
		s.must("install")
		for _, c := range []struct{ wide, narrow, in, alsoIn, far string }{
			{"10.9.4.0/22", "10.9.5.0/24", "10.9.5.1", "10.9.7.255", "10.9.8.0"},
			{"2001:db8:9:4::/62", "2001:db8:9:5::/64", "2001:db8:9:5::1", "2001:db8:9:7:ffff::", "2001:db8:9:8::"},
		} {
			addr := netip.MustParseAddr
			open := func(want bool, who ...string) {
				t.Helper()
				for _, a := range who {
					if s.answers(addr(a)) != want {
						t.Errorf("a connection from %s gets an answer: %v", a, !want)
					}
				}
			}
			s.says(0, "knockd: mysql is open for "+c.wide+" for 30m\n", "grant", "mysql", c.wide, "--for", "30m")
			open(true, c.in, c.alsoIn)
			open(false, c.far)
			if out := narrow(s.must("status").Stdout); !strings.Contains(out, c.wide+" mysql open ●●● ") {
				t.Errorf("status:\n%s", out)
			}
			s.must("install") // keeps it
			s.must("status", "--check")
			open(true, c.in)

			s.must("grant", "mysql", c.narrow)
			s.must("grant", "mysql", c.in)
			s.must("grant", "mysql", c.far)
			still := func(who string) string {
				return "knockd: error: mysql goes on to be open for " + who + ": it is in " + c.wide + ", which has a lease\n" +
					"knockd: hint: to end that: knockd revoke mysql " + c.wide + "\n"
			}
			s.says(1, "knockd: "+c.alsoIn+" held no lease of mysql of its own\n"+still(c.alsoIn), "revoke", "mysql", c.alsoIn)
			open(true, c.alsoIn)
			s.says(1, "knockd: leases of mysql inside "+c.narrow+" that are over: 2\n"+still(c.narrow), "revoke", "mysql", c.narrow)
			open(true, c.in)
			s.says(0, "knockd: the lease of "+c.wide+" for mysql is over\n", "revoke", "mysql", c.wide)
			open(false, c.in, c.alsoIn)
			open(true, c.far)
			s.says(0, "knockd: leases of mysql inside "+c.wide+" that are over: 0\n", "revoke", "mysql", c.wide)
			s.says(0, "knockd: the lease of "+c.far+" for mysql is over\n", "revoke", "mysql", c.far)
		}
	})
}

func TestAPrefixThatCannotHoldALeaseIsRefused(t *testing.T) {
	eachBackend(t, func(t *testing.T, s *served) {
		s.profile("inside", "sequence = [\"7001/tcp\"]\nopen = [\"80/tcp\"]\nfrom = [\"10.9.0.0/25\", \"10.9.0.192/26\"]\n")
		s.profile("single", "sequence = [\"7002/tcp\"]\nopen = [\"81/tcp\"]\nonce = true\n")
		s.profile("mobile", "sequence = [\"7003/tcp\"]\nopen = [\"82/tcp\"]\nprefix = { ipv4 = 24 }\n")
		s.must("install")
		s.says(2, "knockd: error: 10.9.0.5/24 is an address in a prefix: which is meant?\nknockd: hint: the prefix is 10.9.0.0/24, and the address alone 10.9.0.5\n", "grant", "mysql", "10.9.0.5/24")
		s.says(2, "knockd: error: \"10.9.0.0/33\" is not a prefix\nknockd: hint: for example: knockd revoke mysql 198.51.100.0/24\n", "revoke", "mysql", "10.9.0.0/33")
		s.says(2, "knockd: error: 0.0.0.0/0 is everybody: a port that is open to all needs no profile\n", "grant", "mysql", "0.0.0.0/0")
		s.says(2, "knockd: error: 10.9.0.0/24 cannot hold a lease of single, which is for one connection\n", "grant", "single", "10.9.0.0/24")
		s.says(2, "knockd: error: 10.9.1.0/24 is outside the profile's `from`: its gate would not let it in\n", "grant", "inside", "10.9.1.0/24")
		if given := s.form().Sources; len(given) != 0 {
			t.Errorf("something was given: %v", given)
		}
		s.says(0, "knockd: inside is open for 10.9.0.0/24 for 5m\nknockd: of that the profile's `from` lets in 10.9.0.0/25, 10.9.0.192/26 only\n", "grant", "inside", "10.9.0.0/24", "--for", "5m")
		s.says(0, "knockd: single is open for 10.9.0.1 for 1h, for one connection\n", "grant", "single", "10.9.0.1")
		s.says(0, "knockd: mobile is open for 10.9.0.0/24 for 1h\n", "grant", "mobile", "10.9.0.16/28") // as for an address
		s.says(0, "knockd: mysql is open for 10.9.0.0/24 for 5m\n", "grant", "mysql", "::ffff:10.9.0.0/120", "--for", "5m")
		for range 2 {
			if out := narrow(s.must("status").Stdout); strings.Count(out, "10.9.0.0/24 ") != 3 {
				t.Errorf("status:\n%s", out)
			}
			s.must("install")
		}
	})
}

// TestAGrantDoesNotCallOpenWhatItDoesNotKnow: another tool has taken the gate away.
func TestAGrantDoesNotCallOpenWhatItDoesNotKnow(t *testing.T) {
	eachBackend(t, func(t *testing.T, s *served) {
		s.must("install")
		drift := "ipv4: INPUT does not jump to KNOCKD: nothing is gated"
		if s.backend == "iptables" {
			labtest.MustRun(t, s.host, "", "iptables", "-D", "INPUT", "-j", "KNOCKD")
		} else {
			labtest.MustRun(t, s.host, "", "nft", "add", "chain", "inet", "knockd", "mine")
			drift = "chain mine is not one that we made"
		}
		s.says(0, "knockd: warning: the rules are not as they were installed, so whether mysql is open is not known: "+drift+"\n"+
			"knockd: mysql: a lease was given to 10.9.0.1 for 1h\n", "grant", "mysql", "10.9.0.1")
	})
}

// banning has settings that ban after two falls.
func (s *served) banning() {
	s.t.Helper()
	s.settings("backend = \"" + s.backend + "\"\nban = { after = 2, for = \"1h\" }\n")
	s.must("install")
}

func (s *served) falls(src netip.Addr) { s.t.Helper(); s.knock(src, "icmp", "9/tcp") }

// banned returns who is, as status has it.
func (s *served) banned() (who []string) {
	s.t.Helper()
	for _, line := range strings.Split(narrow(s.must("status").Stdout), "\n") {
		if addr, _, ok := strings.Cut(line, " banned "); ok {
			who = append(who, strings.TrimSpace(addr))
		}
	}
	return who
}

// TestAGrantLiftsTheBan, without which the lease would be worth nothing.
func TestAGrantLiftsTheBan(t *testing.T) {
	eachBackend(t, func(t *testing.T, s *served) {
		s.banning()
		for _, src := range []netip.Addr{lab.ForgedAddr4(1), lab.ForgedAddr6(1)} {
			s.falls(src)
			s.falls(src)
			s.says(0, "knockd: mysql is open for "+src.String()+" for 1h; its ban is lifted\n", "grant", "mysql", src.String())
			if !s.answers(src) {
				t.Errorf("mysql is not open for %s", src)
			}
		}
		for i := 1; i <= 3; i++ {
			s.falls(lab.ForgedAddr4(i))
			s.falls(lab.ForgedAddr4(i))
		}
		s.says(0, "knockd: mysql is open for 10.9.0.2/31 for 30m; bans lifted: 2\n", "grant", "mysql", "10.9.0.2/31", "--for", "30m")
		if diff := cmp.Diff([]string{"10.9.0.1"}, s.banned()); diff != "" {
			t.Error(diff)
		}
	})
}

// TestUnbanLiftsBansAndForgetsFalls: the next mistake does not ban again.
func TestUnbanLiftsBansAndForgetsFalls(t *testing.T) {
	eachBackend(t, func(t *testing.T, s *served) {
		s.says(0, "knockd: 10.9.0.1 was not banned\n", "unban", "10.9.0.1") // of anybody who bans nobody
		s.banning()
		for _, src := range []netip.Addr{lab.ForgedAddr4(1), lab.ForgedAddr6(1)} {
			s.falls(src)
			s.says(0, "knockd: "+src.String()+" was not banned\n", "unban", src.String())
			s.falls(src) // the second, and the first that counts
			if len(s.banned()) > 0 {
				t.Errorf("the fall before was not forgotten: %v", s.banned())
			}
			s.falls(src)
			if diff := cmp.Diff([]string{src.String()}, s.banned()); diff != "" {
				t.Fatal(diff)
			}
			s.says(0, "knockd: the ban of "+src.String()+" is lifted\n", "unban", src.String())
			s.falls(src)
			if len(s.banned()) > 0 {
				t.Error("one mistake after it, and it is banned again")
			}
			s.knock(src, "icmp", "7/tcp", "8000/tcp")
			if !s.answers(src) {
				t.Errorf("%s cannot knock", src)
			}
			s.must("unban", src.String())
		}
		for i := range 4 {
			for _, src := range []netip.Addr{lab.ForgedAddr4(i), lab.ForgedAddr6(i)} {
				s.falls(src)
				s.falls(src)
			}
		}
		s.says(0, "knockd: bans lifted: 2\n", "unban", "10.9.0.2/31")
		s.says(0, "knockd: bans lifted: 6\n", "unban", "--all")
		s.says(0, "knockd: bans lifted: 0\n", "unban", "--all")
		s.says(2, "knockd: error: --all and an address exclude each other\nknockd: hint: see knockd unban --help\n", "unban", "--all", "10.9.0.1")
		s.says(2, "knockd: error: \"nobody\" is not an address\nknockd: hint: for example: knockd unban 198.51.100.7\n", "unban", "nobody")
		s.must("status", "--check")
	})
}

// TestARevocationDoesNotSayThatItKnowsOfAFamilyWhoseRecordIsGone: its rules are there, and let
// holders in.
func TestARevocationDoesNotSayThatItKnowsOfAFamilyWhoseRecordIsGone(t *testing.T) {
	eachFlavour(t, func(t *testing.T, s *site) {
		s.profile("mysql", articleProfile)
		s.must("install")
		s.must("grant", "mysql", "10.9.0.1")
		s.must("grant", "mysql", "2001:db8:9::1")
		s.tool("", "iptables", "-F", "KNOCKD-ABOUT")
		unknown := "knockd: error: ipv4: KNOCKD-ABOUT does not say any more what is installed of mysql: install it again\n"
		s.says(1, unknown, "revoke", "mysql", "10.9.0.1")
		s.says(1, unknown, "revoke", "mysql", "--all")
		s.says(0, "knockd: the lease of 2001:db8:9::1 for mysql is over\n", "revoke", "mysql", "2001:db8:9::1")
	})
}
