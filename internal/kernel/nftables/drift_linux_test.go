package nftables

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"knockkit/internal/kernel/backend"
	"knockkit/internal/lab/labtest"
	"knockkit/protocol"
)

// ranged opens a range before NAT, for some sources at one address.
func ranged(t testing.TB) *protocol.Profile {
	return profile(t, "ranged", `sequence = ["7001/tcp", "8001/tcp"]
close = "9001/tcp"
open = ["6000-6010/tcp", "53/udp"]
place = "prerouting"
from = ["10.0.0.0/8", "192.0.2.0/24"]
to = ["10.9.0.1/32"]
cut = true
[opened]
nftables = ["counter quota over 500 mbytes drop comment \"mine\""]
`)
}

// handle finds the rule of a chain that has a text in it, as "chain NAME handle N".
func (s *site) handle(chain, text string) string {
	s.Helper()
	listed := labtest.MustRun(s, s.host, "", "nft", "-a", "list", "chain", "inet", "knockd", chain)
	m := regexp.MustCompile(regexp.QuoteMeta(text) + `.* # handle (\d+)`).FindStringSubmatch(listed)
	if m == nil {
		s.Fatalf("chain %s has no rule %q:\n%s", chain, text, listed)
	}
	return chain + " handle " + m[1]
}

// TestWhateverChangesARuleIsDriftUntilTheNextInstall, under the rule's comment and with as
// many elements too.
func TestWhateverChangesARuleIsDriftUntilTheNextInstall(t *testing.T) {
	host := newSite(t).host
	const not = " is not as this version of knockd has committed it"
	cases := []struct {
		name     string
		commands func(s *site) string
		drift    []string
	}{
		{"a verdict changed under its comment", func(s *site) string {
			return "replace rule inet knockd " + s.handle("gate-tcp-3306", "nfproto ipv4 drop") + ` meta nfproto ipv4 accept comment "mysql: closed"`
		}, []string{"chain gate-tcp-3306" + not}},
		{"a rule moved", func(s *site) string {
			return "delete rule inet knockd " + s.handle("input", "not a SYN") + "\nadd rule inet knockd input tcp flags & (fin | syn | rst | ack) != syn goto gate comment \"not a SYN: no event\""
		}, []string{"rule 6 of chain input is not ours (the same SYN again: no event)"}},
		{"two rules without comments change places", func(s *site) string {
			return "delete rule inet knockd " + s.handle("input", "goto progress4") + "\nadd rule inet knockd input meta nfproto ipv4 goto progress4"
		}, []string{"chain input" + not}},
		{"a rule deleted", func(s *site) string {
			return "delete rule inet knockd " + s.handle("gate-tcp-3306", "nfproto ipv6 drop")
		}, []string{`chain gate-tcp-3306 lacks the rule "meta nfproto ipv6 drop" (mysql: closed)`}},
		{"a rule added", func(s *site) string { return "add rule inet knockd over accept" }, []string{"chain over has a rule more"}},
		{"an element deleted", func(s *site) string { return "delete element inet knockd gates { tcp . 3306 }" }, []string{"map gates has 1 elements, not 2"}},
		{"an element that leads elsewhere", func(s *site) string {
			return "delete element inet knockd gates { tcp . 3306 }\nadd element inet knockd gates { tcp . 3306 : goto open-mysql }"
		}, []string{"map gates" + not}},
		{"another range", func(s *site) string {
			return "delete element inet knockd gates-ranges { tcp . 6000-6010 }\nadd element inet knockd gates-ranges { tcp . 6001-6010 : goto gate-tcp-6000-6010 }"
		}, []string{"map gates-ranges" + not}},
		{"an address within a rule", func(s *site) string {
			s.nft("delete rule inet knockd " + s.handle("enter-ranged.2", "update @open4-ranged")) // and with it the set, whose name is free
			return `add rule inet knockd enter-ranged.2 index 1 ip saddr { 11.0.0.0/8, 192.0.2.0/24 } update @open4-ranged { ip saddr timeout 1h } comment "ranged: opened"`
		}, []string{"chain enter-ranged.2" + not}},
		{"what a profile adds", func(s *site) string {
			return "replace rule inet knockd " + s.handle("pre-open-ranged", "mine") + ` counter quota over 900 mbytes drop comment "mine"`
		}, []string{"chain pre-open-ranged" + not}},
		{"a limit", func(s *site) string {
			return "delete rule inet knockd " + s.handle("enter-mysql.1", "first-knock") + "\ndelete rule inet knockd " + s.handle("enter-ranged.1", "first-knock") +
				"\ndelete limit inet knockd first-knock\nadd limit inet knockd first-knock { rate 1/second burst 5 packets; }"
		}, []string{"limit first-knock" + not, "chain enter-mysql.1 lacks", "chain enter-ranged.1 lacks"}},
		{"dormant", func(s *site) string { return "add table inet knockd { flags dormant; }" }, []string{"the table is dormant: nothing is gated"}},
		{"another policy", func(s *site) string {
			return "add chain inet knockd input { type filter hook input priority -10; policy drop; }"
		}, []string{"chain input" + not}},
		{"another hook", func(s *site) string {
			rules := s.rulesOf("input")
			return "flush chain inet knockd input\ndelete chain inet knockd input\ntable inet knockd {\nchain input {\ntype filter hook input priority 10; policy accept;\n" + rules + "}\n}"
		}, []string{"chain input" + not}},
		{"a chain more", func(s *site) string { return "add chain inet knockd mine" }, []string{"chain mine is not one that we made"}},
		{"a chain gone", func(s *site) string {
			return "flush chain inet knockd fall\nflush chain inet knockd ban\ndelete chain inet knockd ban"
		}, []string{"chain fall lacks", "chain ban is gone"}},
		{"no seal", func(s *site) string { return "flush chain inet knockd seal\ndelete chain inet knockd seal" },
			[]string{"whether the rules are as they were committed is not known, as after a commit that was interrupted: install again"}},
		{"all rules flushed", func(s *site) string { return "flush table inet knockd" }, []string{"chain about is not one"}},
		{"the record spoiled", func(s *site) string { return "add rule inet knockd about continue comment \"profile 1/2 x\"" }, []string{"chain about: a record \"profile\" ends after 1 pieces"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := &site{t, host}
			s.install(mysql(t, ""), ranged(t))
			s.grant("mysql", "192.0.2.9", 0)
			if drift := s.read(everything).Drift; len(drift) > 0 {
				t.Fatalf("after an install: %q", drift)
			}
			s.nft(c.commands(s))
			drift := s.read(everything).Drift
			for i := range min(len(drift), len(c.drift)) {
				if strings.HasPrefix(drift[i], c.drift[i]) {
					drift[i] = c.drift[i]
				}
			}
			if diff := cmp.Diff(c.drift, drift); diff != "" && c.name != "all rules flushed" {
				t.Error(diff)
			}
			if len(drift) == 0 {
				t.Error("no drift")
			}
			s.install(mysql(t, ""), ranged(t))
			r := s.read(everything)
			lost := c.name == "all rules flushed" || c.name == "the record spoiled" // so it is not known what leases were for
			if open := holdersOf(r, backend.Open); len(r.Drift) > 0 || (open == "mysql 192.0.2.9") == lost {
				t.Errorf("after the next install: drift %q, holders %s", r.Drift, open)
			}
		})
	}
}

// rulesOf lists the rules of a chain as nft reads them.
func (s *site) rulesOf(chain string) string {
	s.Helper()
	rules := ""
	for line := range strings.Lines(labtest.MustRun(s, s.host, "", "nft", "-s", "list", "chain", "inet", "knockd", chain)) {
		if strings.HasPrefix(line, "\t\t") && !strings.HasPrefix(line, "\t\ttype filter") {
			rules += line
		}
	}
	return rules
}

// TestWhatPacketsAndGrantsDoIsNoDrift, nor what others do elsewhere.
func TestWhatPacketsAndGrantsDoIsNoDrift(t *testing.T) {
	s := newSite(t)
	s.install(mysql(t, "[opened]\nnftables = [\"counter\"]"), ranged(t))
	for _, step := range []struct {
		name string
		do   func()
	}{
		{"a lease", func() { s.grant("mysql", "192.0.2.9", 0) }},
		{"one for a time of its own", func() { s.grant("mysql", "192.0.2.9", 5*time.Minute) }},
		{"one for a prefix", func() { s.grant("ranged", "10.1.0.0/16", 5*time.Minute) }},
		{"a second one", func() { s.grant("ranged", "10.2.0.0/16", 5*time.Minute) }},
		{"one that ends", func() {
			s.commit(s.read(everything).Change(nil, []backend.Source{{Profile: "ranged", Address: prefix("10.2.0.0/16"), State: backend.Open}}))
		}},
		{"elements of packets", func() {
			var all []string
			for i := range 5000 {
				all = append(all, fmt.Sprintf("10.%d.%d.1 timeout 10s : 0:1", i/256, i%256))
			}
			s.nft("add element inet knockd position4 { " + strings.Join(all, ", ") + " }")
			s.nft("add element inet knockd banned6 { 2001:db8::1 timeout 10s }")
		}},
		{"counters", func() {
			client := labtest.NewHost(t, "client")
			labtest.Join(t, client, s.host)
			s.grant("mysql", client.Addr4.String(), 0)
			if conn, err := client.Dial(t.Context(), "tcp", s.host.Addr4.String()+":3306"); err == nil {
				conn.Close()
			}
			if rules := labtest.MustRun(s, s.host, "", "nft", "list", "chain", "inet", "knockd", "open-mysql"); strings.Contains(rules, "packets 0 ") {
				t.Errorf("nothing was counted: %s", rules)
			}
		}},
		{"other tables", func() {
			s.nft("table inet others { chain c { type filter hook input priority 0; }\n}")
			s.nft("delete table inet others")
		}},
	} {
		step.do()
		if drift := s.read(everything).Drift; len(drift) > 0 {
			t.Errorf("%s: %q", step.name, drift)
		}
	}
}

// TestARepairTouchesOnlyWhatHasDrifted: no port is shut for that, no other chain written anew.
func TestARepairTouchesOnlyWhatHasDrifted(t *testing.T) {
	s := newSite(t)
	s.install(mysql(t, ""), ranged(t))
	s.nft("add rule inet knockd over accept\ndelete element inet knockd closes { tcp . 9001 }")
	p, err := s.plan(compiled(t, mysql(t, ""), ranged(t)))
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Texts()) != 1 {
		t.Fatalf("%d texts", len(p.Texts()))
	}
	text := p.Texts()[0].Text
	if strings.Count(text, "\tchain ") != 1 || !strings.Contains(text, "\tchain over {") || strings.Count(text, "\tmap ") != 1 || !strings.Contains(text, "\tmap closes {") {
		t.Errorf("the repair is\n%s", text)
	}
}

// TestASetWithANameOfOursThatNobodyMadeIsDriftUntilTheNextInstall, also where its name says that a trial
// has kept it, or a prefix that no address has; and a removal takes it away.
func TestASetWithANameOfOursThatNobodyMadeIsDriftUntilTheNextInstall(t *testing.T) {
	s := newSite(t)
	all := []*protocol.Profile{
		profile(t, "web", "sequence = [\"8101/tcp\", \"7901/tcp\"]\nopen = [\"80/tcp\"]\nclose = \"9001/tcp\""),
		profile(t, "once", "sequence = [\"8102/tcp\", \"7902/tcp\"]\nopen = [\"81/tcp\"]\nonce = true"),
	}
	trial := compiled(t, all[1])
	trial.Trial = true
	for _, name := range []string{"kept-open4-web", "kept-open4-once", "kept-given4-web.24", "kept-open4-gone", "kept-banned4", "kept-kept-open4-web",
		"kept-given4-web.99", "given4-web.99", "given4-gone", "open4-gone", "open4-web.99999999999999999999"} {
		for _, elements := range []string{"", "elements = { 192.0.2.9 timeout 1h };"} {
			add := "add set inet knockd " + name + " { typeof ip saddr; flags dynamic,timeout; " + elements + " }"
			s.install(all...)
			s.nft(add)
			if drift := s.read(everything).Drift; len(drift) == 0 {
				t.Errorf("%s: no drift", name)
			}
			s.commit(s.plan(trial))
			s.install(all...)
			s.nft(add)
			s.install(all...)
			if r := s.read(everything); len(r.Drift) > 0 || len(r.Sources) > 0 {
				t.Errorf("%s: after the next install: drift %q, %v", name, r.Drift, r.Sources)
			}
			if sets := labtest.MustRun(t, s.host, "", "nft", "list", "sets"); strings.Contains(sets, "set "+name+" {") {
				t.Errorf("%s is still there", name)
			}
			s.nft(add)
			s.install()
			if s.live() {
				t.Errorf("%s: the table is there after all was removed", name)
			}
		}
	}
}

// TestASetThatIsNobodysIsNotKeptByATrial, for a profile of its name that comes with the trial.
func TestASetThatIsNobodysIsNotKeptByATrial(t *testing.T) {
	s := newSite(t)
	s.install(mysql(t, ""))
	s.nft("add set inet knockd open4-web { typeof ip saddr; flags dynamic,timeout; elements = { 192.0.2.9 timeout 1h }; }")
	trial := compiled(t, profile(t, "web", "sequence = [\"8101/tcp\", \"7901/tcp\"]\nopen = [\"80/tcp\"]\nclose = \"9001/tcp\""))
	trial.Trial = true
	s.commit(s.plan(trial))
	if r := s.read(everything); len(r.Drift) > 0 || len(r.Sources) > 0 {
		t.Errorf("drift %q, %v", r.Drift, r.Sources)
	}
}
