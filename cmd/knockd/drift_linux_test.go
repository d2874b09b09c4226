package main

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// change is what another tool does to our rules.
type change struct {
	name string
	do   func(s *served)
}

// TestWhateverChangesWhatTheRulesDoIsDriftAndAnInstallRepairsIt: also where every comment
// and every count stays.
func TestWhateverChangesWhatTheRulesDoIsDriftAndAnInstallRepairsIt(t *testing.T) {
	eachBackendAtOnce(t, func(t *testing.T, s *served) {
		s.must("install")
		want := s.asMade()
		for _, c := range changes(s.backend) {
			t.Run(c.name, func(t *testing.T) {
				s.t = t
				c.do(s)
				if s.asMade() == want {
					t.Fatal("nothing has changed")
				}
				if out := s.knockd("status", "--check"); out.Code != 1 || !strings.Contains(out.Stdout, "drift: ") {
					t.Errorf("exit %d, without drift:\n%s%s", out.Code, out.Stdout, out.Stderr)
				}
				s.must("install")
				if got := s.asMade(); got != want {
					t.Errorf("after an install the rules are\n%s\nwant\n%s", got, want)
				}
				s.noDrift("after an install")
			})
		}
	})
}

func changes(backend string) []change {
	if backend == "nftables" {
		return nftChanges()
	}
	var all []change
	for _, family := range []struct{ tool, name string }{{"iptables", "IPv4"}, {"ip6tables", "IPv6"}} {
		icmp := map[string]string{"IPv4": "-p icmp -m icmp --icmp-type 8", "IPv6": "-p ipv6-icmp -m icmp6 --icmpv6-type 128"}[family.name]
		replace := func(chain, comment, old, new string) func(s *served) {
			return func(s *served) {
				n, rule := s.ruleOf(family.tool, chain, comment)
				s.restore(family.tool, "-R "+chain+" "+n+" "+swap(s, rule, old, new))
			}
		}
		of := func(name string, do func(s *served)) { all = append(all, change{name + ", " + family.name, do}) }
		of("a gate lets everybody in", replace("KNOCKD-SHUT-mysql", "mysql: closed", "-j DROP", "-j ACCEPT"))
		of("a gate lets holders not in", replace("KNOCKD-GATE-mysql", "mysql: a lease", "-j ACCEPT", "-j DROP"))
		of("a knock leads to the lease", replace("KNOCKD-NEXT-mysql.1", "right knock: mysql 2/3", "-g KNOCKD-ENTER-mysql.2", "-g KNOCKD-ENTER-mysql.3"))
		of("another port is the right knock", replace("KNOCKD-NEXT-mysql.1", "right knock: mysql 2/3", "--dport 7 ", "--dport 9 "))
		of("another port is gated", replace("KNOCKD-TCP", "mysql: no lease", "--dport 3306 ", "--dport 3307 "))
		of("leases last longer", replace("KNOCKD-GATE-mysql", "mysql: a lease", "--seconds 3600 ", "--seconds 36000 "))
		of("a rule asks another table", replace("KNOCKD-GATE-mysql", "mysql: a lease", "--name mysql.open.", "--name mysql.1."))
		of("a rule without a comment", replace("KNOCKD-ICMP", "first knock: mysql 1/3", icmp, icmp+" -s "+map[string]string{"IPv4": "10.9.0.0/16", "IPv6": "2001:db8::/32"}[family.name]))
		of("a rule at another place", func(s *served) {
			n, rule := s.ruleOf(family.tool, "KNOCKD-NEXT-mysql.1", "another packet was faster")
			s.restore(family.tool, "-D KNOCKD-NEXT-mysql.1 "+n, "-A KNOCKD-NEXT-mysql.1 "+rule)
		})
		of("a rule deleted", func(s *served) {
			n, _ := s.ruleOf(family.tool, "KNOCKD-TCP", "mysql: no lease")
			s.restore(family.tool, "-D KNOCKD-TCP "+n)
		})
		of("a rule more", func(s *served) { s.restore(family.tool, "-I KNOCKD-TCP -p tcp -m tcp --dport 3306 -j ACCEPT") })
		of("an empty chain", func(s *served) { s.restore(family.tool, "-F KNOCKD-STRAY-TCP") })
	}
	return all
}

func nftChanges() []change {
	nft := func(lines ...string) func(s *served) {
		return func(s *served) { s.tool(strings.Join(lines, "\n")+"\n", "nft", "-f", "-") }
	}
	replace := func(chain, has, old, new string) func(s *served) {
		return func(s *served) {
			rule, handle := s.nftRule(chain, has)
			s.tool("replace rule inet knockd "+chain+" handle "+handle+" "+swap(s, rule, old, new)+"\n", "nft", "-f", "-")
		}
	}
	return []change{
		{"a gate lets everybody in", replace("gate-tcp-3306", "meta nfproto ipv4 drop", "drop", "accept")},
		{"a gate lets holders not in", replace("open-mysql", "mysql: open", "accept", "drop")},
		{"a gate asks for something else", replace("gate-tcp-3306", "@open4-mysql", "ip saddr @open4-mysql", "ip saddr != @open4-mysql")},
		{"leases last longer", replace("enter-mysql.3", "update @open4-mysql", "timeout 1h", "timeout 10h")},
		{"a position lasts longer", replace("stay-mysql.2", "update @position4", "timeout 10s", "timeout 10m")},
		{"a knock leads to another position", replace("stay-mysql.1", "update @position6", ": 0:1 }", ": 0:2 }")},
		{"a rule leads elsewhere", replace("progress4", "meta l4proto udp", "goto next4", "goto first4")},
		{"a rule without a comment", replace("other", "goto gate", "goto gate", "accept")},
		{"a limit", replace("next4", "report it", "20/second", "1/hour")},
		{"a report to another group", replace("reset-mysql.1", "knockd reset mysql 1", "group 7115", "group 7114")},
		{"a rule at another place", func(s *served) {
			rule, handle := s.nftRule("input", "not a SYN: no event")
			s.tool("delete rule inet knockd input handle "+handle+"\nadd rule inet knockd input "+rule+"\n", "nft", "-f", "-")
		}},
		{"two rules that look alike change places", func(s *served) {
			rule, handle := s.nftRule("progress4", "meta l4proto tcp")
			_, other := s.nftRule("progress4", "icmp type")
			s.tool("add rule inet knockd progress4 handle "+other+" "+rule+"\ndelete rule inet knockd progress4 handle "+handle+"\n", "nft", "-f", "-")
		}},
		{"a rule deleted", func(s *served) {
			_, handle := s.nftRule("gate-tcp-3306", "meta nfproto ipv4 drop")
			s.tool("", "nft", "delete", "rule", "inet", "knockd", "gate-tcp-3306", "handle", handle)
		}},
		{"a rule more", nft("insert rule inet knockd gate accept")},
		{"an element deleted: a gate", nft("delete element inet knockd gates { tcp . 3306 }")},
		{"an element deleted: a knock", nft("delete element inet knockd edges4 { 0:1 . tcp . 7 }")},
		{"an element that leads elsewhere: a gate", nft("delete element inet knockd gates { tcp . 3306 }", "add element inet knockd gates { tcp . 3306 : goto open-mysql }")},
		{"an element that leads elsewhere: a knock", nft("delete element inet knockd edges4 { 0:1 . tcp . 7 }", "add element inet knockd edges4 { 0:1 . tcp . 7 : goto enter-mysql.3 }")},
		{"an element for another: a knock", nft("delete element inet knockd edges6 { 0:1 . tcp . 7 }", "add element inet knockd edges6 { 0:1 . tcp . 9 : goto enter-mysql.2 }")},
		{"an element more", nft("add element inet knockd starts4 { tcp . 9 : goto enter-mysql.3 }")},
		{"the table sleeps", nft("add table inet knockd { flags dormant; }")},
		{"everything is dropped behind ours", nft("add chain inet knockd input { policy drop; }")},
		{"an empty chain", nft("flush chain inet knockd gate")},
		{"a chain with a hook of its own", nft("add chain inet knockd early { type filter hook prerouting priority -400; policy accept; }", "add rule inet knockd early tcp dport 3306 drop")},
	}
}

// TestNothingThatChangesNoRuleIsDrift: what packets, leases, counters and other tools do.
func TestNothingThatChangesNoRuleIsDrift(t *testing.T) {
	eachBackendAtOnce(t, func(t *testing.T, s *served) {
		s.settings("backend = \"" + s.backend + "\"\nban = { after = 3, for = \"10m\" }\n")
		s.must("install")
		s.noDrift("right behind the install")
		for i, src := range []string{"10.9.0.1", "2001:db8:9::1"} {
			s.knock(addr(src), "icmp", "7/tcp", "8000/tcp")
			if !s.answers(addr(src)) {
				t.Errorf("the sequence of %s does not open", src)
			}
			s.noDrift("after the knocks of " + src)
			stranger := addr([]string{"10.9.0.2", "2001:db8:9::2"}[i])
			s.knock(stranger, "icmp", "9/tcp", "3306/tcp", "icmp", "7/tcp", "7/udp", "icmp", "1/tcp") // three falls: a ban
			if out := s.must("status", "--check"); !strings.Contains(out.Stdout, "banned") {
				t.Errorf("nobody is banned:\n%s", out.Stdout)
			}
			s.noDrift("after the wrong knocks of " + stranger.String())
		}
		for _, args := range [][]string{
			{"grant", "mysql", "10.9.0.3"}, {"grant", "mysql", "10.9.0.4", "--for", "30m"}, {"grant", "mysql", "10.9.1.0/24"},
			{"grant", "mysql", "2001:db8:9::3"}, {"grant", "mysql", "2001:db8:9::4", "--for", "1s"}, {"grant", "mysql", "2001:db8:9:1::/64"},
			{"revoke", "mysql", "10.9.0.3"}, {"revoke", "mysql", "2001:db8:9:1::/64"}, {"unban", "10.9.0.2"}, {"revoke", "mysql", "--all"},
		} {
			s.must(args...)
			s.noDrift("after " + strings.Join(args, " "))
		}
		for _, c := range harmless(s.backend) {
			c.do(s)
			s.noDrift(c.name)
		}
		s.must("install")
		s.noDrift("after an install of the same")
	})
}

// harmless is what other tools do beside our rules.
func harmless(backend string) []change {
	all := []change{
		{"another table of nft", func(s *served) {
			s.tool("table inet other {\n\tset gates { type inet_service; elements = { 80 }; }\n\tchain input {\n\t\ttype filter hook input priority 20; policy accept;\n\t\ttcp dport @gates counter drop\n\t}\n}\n", "nft", "-f", "-")
		}},
		{"that table changed", func(s *served) { s.sh("nft add element inet other gates { 81 }", "nft flush chain inet other input") }},
		{"other chains and rules of iptables", func(s *served) {
			for _, tool := range []string{"iptables", "ip6tables"} {
				s.sh(tool+" -N OTHER", tool+" -A OTHER -p tcp --dport 80 -j DROP", tool+" -A INPUT -j OTHER", tool+" -t mangle -A PREROUTING -p udp --dport 81 -j MARK --set-mark 1")
			}
		}},
		{"those changed", func(s *served) { s.sh("iptables -F OTHER", "ip6tables -t mangle -F", "iptables -P FORWARD DROP") }},
	}
	if backend == "iptables" {
		return append(all,
			change{"counters at zero", func(s *served) { s.sh("iptables -Z", "ip6tables -Z", "iptables -t mangle -Z") }},
			change{"a ban by hand", func(s *served) { s.note("banned.KNOCKD4", "10.9.0.9") }},
			change{"a position by hand", func(s *served) { s.note("mysql.1.KNOCKD4", "10.9.0.9") }},
			change{"saved and restored, with counters", func(s *served) {
				for _, tool := range []string{"iptables", "ip6tables"} {
					s.tool(s.tool("", tool+"-save", "--counters"), tool+"-restore", "--counters")
				}
			}})
	}
	return append(all,
		change{"counters at zero", func(s *served) {
			s.sh("nft reset counters")
			s.try("", "nft", "reset", "rules") // an nft that knows it
		}},
		change{"a ban by hand", func(s *served) { s.sh("nft add element inet knockd banned4 { 10.9.0.9 timeout 1h }") }},
		change{"a ban lifted by hand", func(s *served) { s.sh("nft flush set inet knockd banned4") }},
		change{"a position by hand", func(s *served) { s.sh("nft add element inet knockd position4 { 10.9.0.9 timeout 1h : 0:1 }") }},
		change{"a lease by hand", func(s *served) { s.sh("nft add element inet knockd open4-mysql { 10.9.0.9 timeout 1h }") }},
		change{"a fall by hand", func(s *served) { s.sh("nft add element inet knockd fall4.1 { 10.9.0.9 timeout 1h }") }},
		change{"nobody in a position", func(s *served) { s.sh("nft flush map inet knockd position4") }})
}

// noDrift fails if status finds the rules changed.
func (s *served) noDrift(when string) {
	s.t.Helper()
	if out := s.knockd("status", "--check"); out.Code != 0 || strings.Contains(out.Stdout+out.Stderr, "drift") {
		s.t.Errorf("%s: exit %d\n%s%s", when, out.Code, out.Stdout, out.Stderr)
	}
}

// asMade is what the backend's tool says of the rules, without counters and without an
// order where there is none.
func (s *served) asMade() string {
	s.t.Helper()
	if s.backend == "iptables" {
		return byChain(s.rules("iptables")) + byChain(s.rules("ip6tables"))
	}
	table := elements.ReplaceAllStringFunc(s.tool("", "nft", "--stateless", "list", "table", "inet", "knockd"), func(list string) string {
		all := strings.Split(strings.Join(strings.Fields(elements.FindStringSubmatch(list)[1]), " "), ", ")
		slices.Sort(all)
		return strings.Join(all, "\n")
	})
	parts := strings.SplitAfter(table, "\n\t}\n") // what is written anew is listed last
	for i, part := range parts {
		parts[i] = strings.TrimLeft(strings.TrimPrefix(part, "table inet knockd {\n"), "\n")
	}
	slices.Sort(parts)
	return strings.Join(parts, "")
}

var elements = regexp.MustCompile(`elements = \{([^}]*)\}`)

// ruleOf returns the number of the rule with the comment in a chain, and its words.
func (s *site) ruleOf(tool, chain, comment string) (n, rule string) {
	s.t.Helper()
	number := 0
	for line := range strings.Lines(s.tool("", tool, "-S", chain)) {
		rule, is := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "-A "+chain+" ")
		if !is {
			continue
		}
		if number++; strings.Contains(rule, comment+`"`) {
			return strconv.Itoa(number), rule
		}
	}
	s.t.Fatalf("%s has no rule %q", chain, comment)
	return "", ""
}

// restore commits lines to the table filter.
func (s *site) restore(tool string, lines ...string) {
	s.t.Helper()
	s.tool("*filter\n"+strings.Join(lines, "\n")+"\nCOMMIT\n", tool+"-restore", "--noflush")
}

// nftRule returns the rule in a chain that has the words, and its handle.
func (s *site) nftRule(chain, has string) (rule, handle string) {
	s.t.Helper()
	for line := range strings.Lines(s.tool("", "nft", "--handle", "list", "chain", "inet", "knockd", chain)) {
		rule, handle, is := strings.Cut(strings.TrimSpace(line), " # handle ")
		if is && strings.Contains(rule, has) && !strings.HasSuffix(rule, "{") {
			return rule, handle
		}
	}
	s.t.Fatalf("chain %s has no rule with %q", chain, has)
	return "", ""
}

// swap returns the rule with one part for another.
func swap(s *served, rule, old, new string) string {
	s.t.Helper()
	if strings.Count(rule, old) != 1 {
		s.t.Fatalf("%q is not once in %q", old, rule)
	}
	return strings.Replace(rule, old, new, 1)
}
