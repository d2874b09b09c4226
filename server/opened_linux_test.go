package server_test

import (
	"fmt"
	"strings"
	"testing"

	"knockkit/internal/kernel/backend"
	"knockkit/protocol"
	"knockkit/protocol/format"
	"knockkit/server"
)

// TestAnExtraRuleIsOneRuleAndLeavesTheOthersAlone installs bodies that try to be more or
// less than a rule. Each is refused, by the profile's parser or by the tool, and then
// nothing has changed; or it is installed, as one rule, and all others are as they were.
func TestAnExtraRuleIsOneRuleAndLeavesTheOthersAlone(t *testing.T) {
	iptables := []string{
		`-j LOG`, `-m comment --comment "a \"b\" ; # { \\" -j LOG`, `-m policy --pol none --dir in -j LOG`, // as people have them
		`\`, `-j LOG \`, `-j LOG "`, `-j LOG --log-prefix "a\"`, "-j LOG\n-A KNOCKD -j DROP", "-j LOG\x00", // quotes and ends
		`-A KNOCKD -j DROP`, `"-A" KNOCKD -j DROP`, `-j LOG -D KNOCKD 1`, `--flus`, `-X`, `-t nat -j LOG`, `"-t" nat`, `--tab nat`, // commands
		`COMMIT`, `*nat`, `:KNOCKD - [0:0]`, `-j KNOCKD-NONE`, `-c 1 2 -j LOG`,
		`-h`, `-V`, `"-V"`, `--vers`, `-j LOG --help`, `-fh`, `-m limit -h`, `-4 -j LOG`, `-6 -j LOG`, `--ipv6 -j LOG`, `-v -j LOG`, `-M /bin/true`, // no rule at all
	}
	nftables := []string{
		`counter`, `tcp dport { 22, 3306 } counter comment "a ; # { b"`, `ct mark set 7`, // as people have them
		`\`, `counter \`, `tcp dport 1 \`, `counter "`, `log prefix "a\"`, "counter\ndrop", "counter\x00", // quotes and ends
		`counter # x`, `drop; counter`, `log prefix "a\" ; drop comment "x\"`, `log prefix "a\" comment "b`,
		`counter }`, `} {`, `counter } chain evil { counter`, `ip saddr { 10.9.0.1`, `jump { accept; }`, // blocks
		`add rule inet knockd gate accept`, `flush ruleset`, `include "/dev/null"`, `define x = 1`, `redefine x = 1`, `undefine x`, // commands
		`comment "x"`, `type filter hook input priority -300`, `policy drop`, `flags offload`, // what is the chain's
		`counter comment "now at 9:9 mysql 2/3"`, `counter comment "profile 1/1 {}"`, // a record's words
	}
	eachBackend(t, func(t *testing.T, name string) {
		s := newSite(t, name, strict())
		web := parse(t, "web", "sequence = [\"7422/tcp\", \"3190/udp\", \"9003/tcp\"]\nopen = [\"80/tcp\"]\n")
		mysql := func(body string) (*protocol.Profile, format.Diagnostics) {
			key := "opened.nftables"
			if name == "iptables" {
				key = "opened.iptables"
			}
			q := fmt.Sprintf("%+q", body) // of Go, but no body here has an escape that TOML lacks
			q = strings.ReplaceAll(q, `\x00`, `\u0000`)
			text := "sequence = [\"7421/tcp\", \"3190/udp\", \"9002/tcp\"]\nopen = [\"3306/tcp\"]\n" + key + " = [" + q + "]\n"
			if name == "iptables" {
				text += "opened.ip6tables = [" + q + "]\n"
			}
			return format.ParseProfile("mysql.toml", []byte(text))
		}
		bodies := nftables
		if name == "iptables" {
			bodies = iptables
		}
		first, diagnostics := mysql(bodies[0])
		if diagnostics.HasErrors() {
			t.Fatal(diagnostics)
		}
		s.install(first, web)
		others, own := s.apart(name)
		refused, taken := 0, 0
		for i, body := range bodies {
			t.Run(body, func(t *testing.T) {
				p, diagnostics := mysql(body)
				if diagnostics.HasErrors() {
					if i < 3 {
						t.Errorf("people have this, and it is refused: %v", diagnostics)
					}
					refused++
					return
				}
				var in backend.Installed
				var errInstall error
				s.do(func() error {
					_, errInstall = s.srv.Install(t.Context(), []*protocol.Profile{p}, server.InstallOptions{})
					return nil
				})
				in = s.installed()
				othersNow, ownNow := s.apart(name)
				if othersNow != others {
					t.Errorf("other rules have changed:\n%s\nwere\n%s", othersNow, others)
				}
				if errInstall != nil {
					refused++
					if ownNow != own {
						t.Errorf("the install failed (%v), and the profile's own rules have changed:\n%s", errInstall, ownNow)
					}
					return
				}
				taken++
				own = ownNow
				for _, is := range in.Profiles {
					if is.Name == "mysql" && format.Canonical(is) != format.Canonical(p) {
						t.Errorf("installed is %s, and the install said that it went well", format.Canonical(is))
					}
				}
				if n := strings.Count(own, "\n"); n != 2 && !(name == "iptables" && n == 4) {
					t.Errorf("%d rules in the profile's own chain:\n%s", n, own)
				}
				if len(in.Drift) > 0 {
					t.Errorf("drift: %q", in.Drift)
				}
			})
		}
		if refused == 0 || taken < 3 {
			t.Errorf("%d bodies were refused and %d installed", refused, taken)
		}
	})
}

// apart returns the rules of the chain for mysql's extra rules, a line each, and all
// others but the record.
func (s *site) apart(backendName string) (others, own string) {
	s.t.Helper()
	var text string
	if backendName == "iptables" {
		text = s.run("iptables-save") + s.run("ip6tables-save")
	} else {
		text = s.run("nft", "-s", "list", "ruleset")
	}
	chain := ""
	for line := range strings.Lines(text) {
		in := chain
		switch {
		case strings.HasPrefix(line, "\tchain "):
			chain = strings.Fields(line)[1]
			in = ""
		case strings.HasPrefix(line, "-A "):
			in = strings.Fields(line)[1]
		case strings.HasPrefix(line, "\t}"), !strings.HasPrefix(line, "\t"):
			chain, in = "", ""
		}
		switch {
		case strings.HasPrefix(line, "#"), in == "about", in == "seal", in == "KNOCKD-ABOUT" && !strings.Contains(line, "\"table "):
		case in == "open-mysql", in == "KNOCKD-OPEN-mysql":
			own += line
		default:
			others += counters.ReplaceAllString(line, "")
		}
	}
	return others, own
}
