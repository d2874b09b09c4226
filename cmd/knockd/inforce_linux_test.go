package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// sh runs command lines on the site's host, each split at blanks.
func (s *site) sh(lines ...string) {
	s.t.Helper()
	for _, line := range lines {
		words := strings.Fields(line)
		s.tool("", words[0], words[1:]...)
	}
}

// TestStatusCheckExitsWith0OnlyWhileEveryEnabledProfileIsInForce: and the row of the
// table, the sentences below it, and doctor say the same.
func TestStatusCheckExitsWith0OnlyWhileEveryEnabledProfileIsInForce(t *testing.T) {
	const notInstalled = "mysql not installed 3306/tcp 1h 0 open, 0 knocking\n"
	const notInForce, fine = "mysql not in force BACKEND 3306/tcp 1h", "mysql installed BACKEND 3306/tcp 1h"
	const change = "mysql changed BACKEND 3306/tcp 1h"
	const off = "enabled = false\n"
	do := func(lines ...string) func(*served) {
		return func(s *served) { s.sh(lines...) }
	}
	file := func(name, text string) func(*served) {
		return func(s *served) { s.profile(name, text) }
	}
	delete := func(name string) func(*served) {
		return func(s *served) { s.must("profile", "remove", name) }
	}
	settings := func(text string) func(*served) {
		return func(s *served) { s.settings("backend = \"" + s.backend + "\"\n" + text) }
	}
	for _, c := range []struct {
		name    string
		backend string // "": both
		do      func(s *served)
		args    []string
		code    int
		row     string   // of the table
		says    []string // on either stream
	}{
		{"as installed", "", func(*served) {}, nil, 0, fine, nil},
		{"all rules flushed", "iptables", do("iptables -F", "ip6tables -F"), nil, 1, notInstalled, []string{"drift: ipv4: INPUT does not jump to KNOCKD", "profile mysql is enabled and not installed: knockd install mysql"}},
		{"all rules flushed", "nftables", do("nft flush table inet knockd"), nil, 1, notInstalled, []string{"drift: ", "profile mysql is enabled and not installed"}},
		{"the input flushed, what is installed still said", "iptables", do("iptables -F INPUT", "ip6tables -F INPUT"), nil, 1, notInForce, []string{"drift: ipv4: INPUT does not jump to KNOCKD", "drift: ipv6: INPUT does not jump to KNOCKD"}},
		{"the input flushed, what is installed still said", "nftables", do("nft flush chain inet knockd input"), nil, 1, notInForce, []string{"drift: chain input"}},
		{"everything gone", "iptables", do("iptables -F", "iptables -X", "ip6tables -F", "ip6tables -X"), nil, 1, notInstalled, []string{"not in force: profile mysql is enabled and not installed: knockd install mysql\n"}},
		{"everything gone", "nftables", do("nft flush ruleset"), nil, 1, notInstalled, []string{"not in force: profile mysql is enabled and not installed: knockd install mysql\n"}},
		{"the jump gone", "iptables", do("iptables -D INPUT -j KNOCKD"), nil, 1, notInForce, []string{"drift: ipv4: INPUT does not jump to KNOCKD: nothing is gated\n"}},
		{"a family gone", "iptables", do("ip6tables -F", "ip6tables -X"), nil, 1, notInForce, []string{"drift: ipv6: mysql is not installed there: what it opens is open to all\n"}},
		{"a rule of others into our chains", "iptables", do("iptables -A FORWARD -j KNOCKD-ENTER-mysql.2"), nil, 1, notInForce, []string{"not in force: a rule that is not ours leads into our chains: ipv4: -A FORWARD -j KNOCKD-ENTER-mysql.2: delete it\n"}},
		{"published past the gate", "", do("iptables -t nat -A PREROUTING -p tcp --dport 3306 -j DNAT --to-destination 10.9.0.2:3306"), nil, 1, notInForce, []string{"not in force: 3306/tcp of profile mysql goes elsewhere before the gate"}},
		{"dropped behind the gate", "nftables", do("nft add table inet late", "nft add chain inet late input { type filter hook input priority 10 ; policy drop ; }"), nil, 1, notInForce, []string{"not in force: 3306/tcp of profile mysql is dropped behind the gate"}},

		{"the file edited", "", file("mysql", articleProfile+"lease = \"2h\"\n"), nil, 1, change, []string{"changed: profile mysql was edited since it was installed: knockd install mysql\n"}},
		{"the file edited in what the kernel does not know", "", file("mysql", articleProfile+"description = \"the database\"\n"), nil, 0, fine, nil},
		{"the file broken", "", file("mysql", articleProfile+"lease = \"x\"\n"), nil, 1, change, []string{"changed: the file of profile mysql has errors since it was installed: knockd profile check mysql\n"}},
		{"a broken file beside", "", file("web", "open = 80\n"), nil, 1, "web not installed\n", []string{"not in force: the file of profile web has errors, and it is not installed: knockd profile check web\n"}},
		{"a broken file beside, not asked about", "", file("web", "open = 80\n"), []string{"mysql"}, 0, fine, nil},
		{"a broken file, asked about", "", file("web", "open = 80\n"), []string{"web"}, 1, "web not installed\n", []string{"the file of profile web has errors"}},
		{"a profile more", "", file("web", web), nil, 1, "web not installed 80/tcp 1h", []string{"not in force: profile web is enabled and not installed: knockd install web\n"}},
		{"a profile more, not asked about", "", file("web", web), []string{"mysql"}, 0, fine, nil},
		{"a disabled profile more", "", file("web", off+web), nil, 0, "web disabled 80/tcp 1h", nil},
		{"only a disabled one asked about", "", file("web", off+web), []string{"web"}, 0, "web disabled 80/tcp 1h", []string{"no profile is enabled of those named: nothing has to be in force\n"}},
		{"disabled, and installed still", "", file("mysql", off+articleProfile), nil, 0, change,
			[]string{"profile mysql is installed and its file says enabled = false, it is gone after the next boot: knockd remove mysql\n", "no profile is enabled: nothing has to be in force\n"}},
		{"the file gone", "", delete("mysql"), nil, 0, "mysql no file BACKEND",
			[]string{"profile mysql is installed and has no file, it is gone after the next boot: put the file back, or knockd remove mysql\n", "no profile is enabled: nothing has to be in force\n"}},
		{"nothing installed, nothing enabled", "", func(s *served) { s.must("remove", "--all"); s.must("profile", "remove", "mysql") }, nil, 0, "PROFILE STATE", []string{"no profile is enabled: nothing has to be in force\n"}},

		{"strict changed", "", settings("strict = false\n"), nil, 1, change, []string{"changed: strict of knockd.toml changed since the rules were made: knockd install"}},
		{"strict and ban changed", "", settings("strict = false\nban = { after = 3, for = \"10m\" }\n"), nil, 1, change, []string{"strict and ban of knockd.toml changed"}},
		{"the other backend", "iptables", func(s *served) { s.settings("backend = \"nftables\"\n") }, nil, 1, change, []string{"changed: the gates are those of backend iptables, and knockd.toml says nftables: knockd install"}},
		{"the other backend", "nftables", func(s *served) { s.settings("backend = \"iptables\"\n") }, nil, 1, change, []string{"changed: the gates are those of backend nftables, and knockd.toml says iptables: knockd install"}},
		{"strict changed, and a rule in front that lets strangers in", "iptables", func(s *served) {
			s.settings("backend = \"iptables\"\nstrict = false\n")
			s.sh("iptables -I INPUT -p tcp --dport 3306 -j ACCEPT")
		}, nil, 1, notInForce, []string{"changed: strict of knockd.toml", "not in force: 3306/tcp of profile mysql is accepted before the gate"}},
		{"any backend", "", func(s *served) { s.settings("") }, nil, 0, fine, nil},

		{"another interface", "", func(s *served) { s.profile("mysql", articleProfile+"interface = \"tnu0\"\n"); s.must("install") }, nil, 1, notInForce,
			[]string{"not in force: profile mysql gates nothing: there is no interface tnu0 (did you mean tun0?): write tun0 (if tnu0 comes later: not there now; the gate works as soon as it is)\n"}},
		{"another address", "", func(s *served) {
			s.profile("mysql", articleProfile+"to = [\"198.51.100.200/32\", \"2001:db8::/32\"]\n")
			s.must("install")
		}, nil, 1, notInForce, []string{"not in force: profile mysql gates nothing at 198.51.100.200/32: no address of this host lies there: write what others come to: \"198.51.100.1/32\" "}},
	} {
		t.Run(strings.TrimSpace(c.name+" "+c.backend), func(t *testing.T) {
			eachBackendAtOnce(t, func(t *testing.T, s *served) {
				if c.backend != "" && c.backend != s.backend {
					return
				}
				s.must("install")
				c.do(s)
				out := s.knockd(append([]string{"status", "--check"}, c.args...)...)
				if out.Code != c.code {
					t.Errorf("exit %d, not %d", out.Code, c.code)
				}
				if row := strings.Replace(c.row, "BACKEND", s.backend, 1); !strings.Contains(narrow(out.Stdout), row) {
					t.Errorf("no row %q", row)
				}
				for _, text := range c.says {
					if !strings.Contains(out.Stdout+out.Stderr, text) {
						t.Errorf("it does not say %q", text)
					}
				}
				for _, text := range []string{"not in force", "changed: ", "drift: "} {
					if c.code == 0 && strings.Contains(out.Stdout+out.Stderr, text) {
						t.Errorf("it says %q and exits with 0", text)
					}
				}
				if plain := s.knockd(append([]string{"status"}, c.args...)...); plain.Code != 0 || plain.Stdout != out.Stdout {
					t.Errorf("without --check: exit %d, %s", plain.Code, plain.Stdout)
				}
				if len(c.args) == 0 {
					if doctor := s.knockd("doctor"); doctor.Code != c.code {
						t.Errorf("doctor: exit %d\n%s", doctor.Code, doctor.Stdout)
					}
				}
				if t.Failed() {
					t.Logf("status:\n%s%s", out.Stdout, out.Stderr)
				}
			})
		})
	}
}

// TestWhatGatesNothingIsSaidWhereverAProfileIsUsed goes the way of a profile from its
// file to the service, and lets the interface come at last.
func TestWhatGatesNothingIsSaidWhereverAProfileIsUsed(t *testing.T) {
	eachBackend(t, func(t *testing.T, s *served) {
		const says = "profile mysql gates nothing: there is no interface tnu0 (did you mean tun0?): write tun0 (if tnu0 comes later: not there now; the gate works as soon as it is)\n"
		text := articleProfile + "interface = \"tnu0\"\n"
		file := filepath.Join(t.TempDir(), "mysql.toml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			args []string
			code int
			said string
		}{
			{[]string{"profile", "check", file}, 0, "knockd: warning: " + says},
			{[]string{"profile", "add", file, "--force"}, 0, "knockd: warning: " + says},
			{[]string{"profile", "check"}, 0, "knockd: warning: " + says},
			{[]string{"install", "--dry-run"}, 0, "knockd: warning: " + says},
			{[]string{"install"}, 0, "knockd: warning: " + says},
			{[]string{"install", "mysql"}, 0, "knockd: warning: " + says},
			{[]string{"status"}, 0, "not in force: " + says},
			{[]string{"status", "--json", "--check"}, 1, "not in force: " + says},
		} {
			out := s.knockd(c.args...)
			if out.Code != c.code || strings.Count(out.Stdout+out.Stderr, c.said) != 1 || strings.Contains(out.Stderr, "fine") {
				t.Errorf("%v: exit %d, not %d\n%s", c.args, out.Code, c.code, out.Stderr)
			}
		}
		service := s.run()
		service.logs(`level=WARN msg="not in force" profile=mysql found="profile mysql gates nothing: there is no interface tnu0 (did you mean tun0?)" do="write tun0 (if`)
		if !s.answers(s.wire.Peer4) {
			t.Error("there is a gate")
		}
		s.sh("ip link set tun0 down", "ip link set tun0 name tnu0", "ip link set tnu0 up")
		s.must("install") // has the service look, which it does by itself within a minute
		service.logs(`level=INFO msg="not so any more" profile=mysql found="profile mysql gates nothing: there is no interface tnu0`)
		s.must("status", "--check")
		if s.answers(s.wire.Peer4) {
			t.Error("the interface is there, and there is no gate")
		}
		s.knock(s.wire.Peer4, "icmp", "7/tcp", "8000/tcp")
		if !s.answers(s.wire.Peer4) {
			t.Error("the gate does not open")
		}
		if n := strings.Count(service.log.String(), "not in force"); n != 1 {
			t.Errorf("said %d times", n)
		}
	})
}
