package main

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
	"knockkit/protocol"
)

// services is a profile that a client of this machine can knock for: TCP and UDP.
const services = "sequence = [\"7421/tcp\", \"3190/udp\", \"9002/tcp\"]\nopen = [\"3306/tcp\", \"1194/udp\"]\n"

// wall is a way to drop by default on a host, and what of it is missing.
type wall struct {
	name  string
	rules []string // command lines; "nft " is fed to nft
	says  string   // of what is said; "" where holders are not shut out
	add   string   // what the line to add begins with
	nft   bool     // it is of nft, and drops what iptables accepts as well
}

var walls = []wall{
	{name: "a policy of DROP", rules: begins("TABLES -P INPUT DROP"),
		says: "from their second packet on, by the policy of chain INPUT of table filter (iptables", add: "TABLES -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT"},
	{name: "a last rule that drops", rules: begins("TABLES -A INPUT -p tcp --dport 22 -j ACCEPT", "TABLES -A INPUT -j DROP"),
		says: "from their second packet on, by \"-j DROP\" in chain INPUT of table filter (iptables", add: "TABLES -I INPUT N -m conntrack --ctstate ESTABLISHED -j ACCEPT"},
	{name: "a last rule that rejects, in a chain of its own", rules: begins("TABLES -N wall", "TABLES -A wall -i lo -j ACCEPT", "TABLES -A wall -m conntrack --ctstate NEW -j LOG", "TABLES -A wall -j REJECT", "TABLES -A INPUT -j wall"),
		says: "in chain wall of table filter (iptables", add: "TABLES -I wall 3 -m conntrack --ctstate ESTABLISHED -j ACCEPT"},
	{name: "rules that ask for no SYN", rules: begins("TABLES -A INPUT -p tcp ! --syn -j ACCEPT", "TABLES -A INPUT -p udp --sport 1024:65535 -m state --state ESTABLISHED -j ACCEPT", "TABLES -P INPUT DROP")},
	{name: "answers that are dropped", rules: []string{"TABLES -P OUTPUT DROP", "TABLES -A OUTPUT -p icmpv6 -j ACCEPT"},
		says: "answers from 3306/tcp, 1194/udp of profile shop are dropped, by the policy of chain OUTPUT of table filter (iptables", add: "TABLES -A OUTPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT"},
	{name: "answers by their port", rules: []string{"TABLES -P OUTPUT DROP", "TABLES -A OUTPUT -p icmpv6 -j ACCEPT", "TABLES -A OUTPUT -p tcp --sport 3306 --dport 1024:65535 -j ACCEPT", "TABLES -A OUTPUT -p udp --sport 1194 -j ACCEPT"}},
	{name: "mangle drops what is established", rules: []string{"TABLES -t mangle -A PREROUTING ! -i lo -m conntrack --ctstate ESTABLISHED -j DROP"},
		says: "in chain PREROUTING of table mangle (iptables", add: "TABLES -t mangle -I PREROUTING 1 -m conntrack --ctstate ESTABLISHED -j ACCEPT"},
	{name: "raw takes them away from conntrack", rules: []string{"TABLES -t raw -A PREROUTING -p tcp --dport 3306 -j CT --notrack"},
		says: "connections to 3306/tcp of profile shop are not tracked, by"},
	{name: "raw drops what is no SYN", rules: []string{"TABLES -t raw -A PREROUTING -p tcp ! --syn -j DROP"},
		says: "connections to 3306/tcp of profile shop are dropped from their second packet on, by", add: ""},
	{name: "an nft policy, and the port let through for new connections", nft: true,
		rules: []string{"nft table inet fw { chain in { type filter hook input priority 10; policy drop; iif lo accept; icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept; ct state new th dport { 3306, 1194 } accept; }; }"},
		says:  "from their second packet on, by the policy of chain in of table inet fw (nft)", add: "nft add rule inet fw in ct state established accept"},
	{name: "an nft rule that drops", nft: true,
		rules: []string{"nft table inet fw { chain in { type filter hook input priority 10; iif lo accept; icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept; tcp flags & (fin | syn | rst | ack) == syn accept; udp dport 1194 ct state new accept; reject; }; }"},
		says:  "in chain in of table inet fw (nft)", add: "nft insert rule inet fw in handle "},
	{name: "an nft chain that drops answers", nft: true,
		rules: []string{"nft table inet fw { chain out { type filter hook output priority 0; policy drop; icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept; }; }"},
		says:  "answers from 3306/tcp, 1194/udp of profile shop are dropped, by the policy of chain out of table inet fw (nft)", add: "nft add rule inet fw out ct state established accept"},
	{name: "a firewall as it should be", nft: true,
		rules: []string{"nft table inet fw { chain in { type filter hook input priority 10; policy drop; ct state vmap { established : accept, invalid : drop }; iif lo accept; icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept; th dport { 3306, 1194 } accept; }; chain out { type filter hook output priority 0; policy drop; icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept; ct state established accept; }; }"}},
}

// begins lets the first packets through before the rules, as our accept does with the
// backend iptables only.
func begins(rules ...string) []string {
	return append([]string{"TABLES -A INPUT -p icmpv6 -j ACCEPT", "TABLES -A INPUT -p tcp --dport 3306 -m conntrack --ctstate NEW -j ACCEPT",
		"TABLES -A INPUT -p udp --dport 1194 -m conntrack --ctstate NEW -j ACCEPT"}, rules...)
}

// TestHoldersThatAreShutOutAreFoundAndTheLineLetsThemIn: the client's knock opens, and
// the second packet of its connection is dropped. What doctor says to add is typed as it
// says it, and then the connection works and doctor has nothing to say.
func TestHoldersThatAreShutOutAreFoundAndTheLineLetsThemIn(t *testing.T) {
	knock := filepath.Join(t.TempDir(), "knock")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", knock, "../knock").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	atOnce(t, func(t *testing.T, s *site) {
		client := labtest.NewHost(t, "client")
		labtest.Join(t, s.host, client)
		echo(t, s.host)
		s.profile("shop", services)
		s.must("install")
		for _, src := range []netip.Addr{client.Addr4, client.Addr6} {
			to := s.host.Addr4
			if src.Is6() {
				to = s.host.Addr6
			}
			labtest.MustRun(t, client, "", knock, "--config", s.config, "shop", "--host", to.String())
			answers(t, client, to, "before")
		}
		for i, w := range walls {
			t.Run(w.name, func(t *testing.T) {
				defer s.tearDown(t)
				s.erect(t, w)
				for _, src := range []netip.Addr{client.Addr4, client.Addr6} {
					to := s.host.Addr4
					if src.Is6() {
						to = s.host.Addr6
					}
					if w.says == "" {
						answers(t, client, to, "behind the wall")
					} else if reaches(t, client, to, "tcp") {
						t.Errorf("what the client says over TCP from %s arrives", src)
					}
				}
				for _, line := range lines(t, w, s.told(t, w, askedOf(i)...)) {
					s.tool("", "sh", "-c", line)
				}
				if w.says != "" && w.add == "" {
					return // there is no line for it
				}
				s.told(t, wall{nft: w.nft}, askedOf(i)...)
				for _, to := range []netip.Addr{s.host.Addr4, s.host.Addr6} {
					answers(t, client, to, "afterwards")
				}
			})
		}
	})
}

// echo lets the services of the profile say back what they hear.
func echo(t *testing.T, h *lab.Host) {
	t.Helper()
	l, c := labtest.Listen(t, h, "tcp", "[::]:3306"), labtest.ListenPacket(t, h, "udp", "[::]:1194")
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				line, _ := bufio.NewReader(conn).ReadString('\n')
				fmt.Fprint(conn, line)
			}()
		}
	}()
	go func() {
		text := make([]byte, 100)
		for {
			n, from, err := c.ReadFrom(text)
			if err != nil {
				return
			}
			_, _ = c.WriteTo(text[:n], from) // a wall may refuse it
		}
	}()
}

// reaches reports whether two lines, one after the other, come back from a service.
func reaches(t *testing.T, client *lab.Host, to netip.Addr, network string) bool {
	t.Helper()
	const patience = 300 * time.Millisecond // who has more asks again
	port := map[string]uint16{"tcp": 3306, "udp": 1194}[network]
	back := false
	if err := client.Do(func() error {
		c, err := (&net.Dialer{Timeout: patience}).DialContext(t.Context(), network, netip.AddrPortFrom(to, port).String())
		if err != nil {
			return nil // a host that answers nothing
		}
		defer c.Close()
		back = true
		lines := bufio.NewReader(c)
		for i := range map[string]int{"tcp": 1, "udp": 2}[network] {
			if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
				return err
			}
			line := fmt.Sprintf("line %d\n", i)
			if _, err := fmt.Fprint(c, line); err != nil {
				back = false
			}
			got, err := lines.ReadString('\n')
			back = back && err == nil && got == line
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return back
}

// answers waits until services, or both, answer a lease holder.
func answers(t *testing.T, client *lab.Host, to netip.Addr, when string, networks ...string) {
	t.Helper()
	if len(networks) == 0 {
		networks = []string{"tcp", "udp"}
	}
	for _, network := range networks {
		labtest.Eventually(t, soon, func() error {
			if reaches(t, client, to, network) {
				return nil
			}
			return fmt.Errorf("%s: %s over %s does not answer a lease holder", when, to, network)
		})
	}
}

// erect brings a wall's rules in, over both families. Names are replaced in them.
func (s *site) erect(t *testing.T, w wall, names ...string) {
	t.Helper()
	for _, line := range w.rules {
		line = strings.NewReplacer(names...).Replace(line)
		if text, ok := strings.CutPrefix(line, "nft "); ok {
			s.tool(text, "nft", "-f", "-")
			continue
		}
		for _, tool := range tables {
			if strings.Contains(line, "icmpv6") && tool == "iptables" {
				continue
			}
			words := strings.Fields(strings.Replace(line, "TABLES", tool, 1))
			s.tool("", words[0], words[1:]...)
		}
	}
}

var tables = []string{"iptables", "ip6tables"}

// tearDown takes everything away that is not ours.
func (s *site) tearDown(t *testing.T) {
	t.Helper()
	s.try("", "nft", "delete", "table", "inet", "fw") // it need not be there
	for _, tool := range tables {
		for _, table := range []string{"raw", "mangle", "filter"} {
			rules := s.tool("", tool+"-save", "-t", table)
			undo := "*" + table + "\n"
			for _, chain := range []string{"INPUT", "OUTPUT", "FORWARD"} {
				if table == "filter" {
					undo += ":" + chain + " ACCEPT [0:0]\n"
				}
			}
			for line := range strings.Lines(rules) {
				if rest, ok := strings.CutPrefix(line, "-A "); ok && !strings.Contains(line, "KNOCKD") {
					undo += "-D " + rest
				}
			}
			if strings.Contains(rules, ":wall") {
				undo += "-X wall\n"
			}
			s.tool(undo+"COMMIT\n", tool+"-restore", "--noflush")
		}
	}
}

// askedOf is the commands that have to say what they see: all of them for the first of
// each few walls, as they ask the same code.
func askedOf(i int) []string {
	if i%4 == 0 {
		return []string{"install", "doctor", "status"}
	}
	return []string{"status"}
}

// told fails unless the commands say what the wall does to both families, or all of them
// say nothing. It returns what the last, status, says.
func (s *site) told(t *testing.T, w wall, commands ...string) (said string) {
	t.Helper()
	for _, command := range commands {
		if command == "doctor" {
			s.diagnosed(t, w)
			continue
		}
		out := s.knockd(command)
		said = out.Stdout + out.Stderr // why a profile is not in force is part of what status answers
		n := 0
		for line := range strings.Lines(said) {
			if w.says != "" && strings.Contains(line, w.says) {
				n++
			}
		}
		switch {
		case w.says == "" && strings.Contains(said, "profile shop"):
			t.Errorf("knockd %s says\n%s", command, said)
		case w.says != "" && (n == 0 || !w.nft && n != 2):
			t.Errorf("knockd %s says %d times %q:\n%s", command, n, w.says, said)
		}
	}
	return said
}

// diagnosed fails unless doctor calls it broken that holders are shut out, and only then.
func (s *site) diagnosed(t *testing.T, w wall) {
	t.Helper()
	out := s.knockd("doctor", "--json")
	shut := false
	for _, f := range diagnose(t, out.Stdout) {
		if f.ID == "dropped" || f.ID == "untracked" {
			shut = shut || w.says == "" || f.Severity == "broken" && strings.Contains(f.Found, w.says)
		}
	}
	if shut != (w.says != "") || out.Code != map[bool]int{true: 1}[shut] {
		t.Errorf("doctor ends with %d and says\n%s", out.Code, out.Stdout)
	}
}

// lines returns what a command says to type.
func lines(t *testing.T, w wall, said string) []string {
	t.Helper()
	var all []string
	for line := range strings.Lines(said) {
		m := quoted.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		tool := "iptables"
		if strings.Contains(line, protocol.IPv6.String()+")") {
			tool = "ip6tables"
		}
		want := strings.Replace(w.add, "TABLES", tool, 1)
		if got := number.ReplaceAllString(strings.Replace(m[1], tool+"-nft", tool, 1), "${1}N "); !strings.HasPrefix(got, want) {
			t.Errorf("it says to type %q, not %q", m[1], want)
		}
		if !slices.Contains(all, m[1]) {
			all = append(all, m[1])
		}
	}
	return all
}

var (
	quoted = regexp.MustCompile(": `([^`]*)`, and the same")
	number = regexp.MustCompile(`^(ip6?tables -I INPUT )[0-9]+ `)
)

// forwarding are walls on the way to a container, whose gate is in front of
// destination NAT.
var forwarding = []wall{
	{name: "what is new let through", rules: []string{"TABLES -P FORWARD DROP", "TABLES -A FORWARD -p icmpv6 -j ACCEPT", "TABLES -A FORWARD -p tcp --dport 3306 -m conntrack --ctstate NEW -j ACCEPT"},
		says: "by the policy of chain FORWARD of table filter (iptables", add: "TABLES -A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT"},
	{name: "answers that are dropped", rules: []string{"TABLES -P FORWARD DROP", "TABLES -A FORWARD -p icmpv6 -j ACCEPT", "TABLES -A FORWARD -p tcp --dport 3306 -j ACCEPT"},
		says: "answers from 3306/tcp of profile shop are dropped, by the policy of chain FORWARD of table filter (iptables", add: "TABLES -A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT"},
	{name: "a policy of DROP alone", rules: []string{"TABLES -P FORWARD DROP"},
		says: "is dropped behind the gate, by the policy of chain FORWARD of table filter (iptables"},
	{name: "as an engine writes it", rules: []string{"TABLES -P FORWARD DROP", "TABLES -A FORWARD -p icmpv6 -j ACCEPT", "TABLES -A FORWARD -o CABLE -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
		"TABLES -A FORWARD ! -i CABLE -o CABLE -p tcp --dport 3306 -j ACCEPT", "TABLES -A FORWARD -i CABLE -j ACCEPT"}},
	{name: "nft, and what is new let through", nft: true,
		rules: []string{"nft table inet fw { chain f { type filter hook forward priority 0; policy drop; icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept; ct status dnat ct state new accept; }; }"},
		says:  "by the policy of chain f of table inet fw (nft)", add: "nft add rule inet fw f ct state established accept"},
}

func TestHoldersWhoAreShutOutOfAContainerAreFound(t *testing.T) {
	atOnce(t, func(t *testing.T, s *site) {
		client, box := labtest.NewHost(t, "client"), labtest.NewHost(t, "container")
		labtest.Join(t, s.host, client)
		labtest.Join(t, s.host, box)
		echo(t, box)
		cable, here := s.host.Interfaces[1], box.Interfaces[0]
		for _, name := range []string{"ipv4/ip_forward", "ipv6/conf/all/forwarding"} {
			if err := s.host.Sysctl(name, "1"); err != nil {
				t.Fatal(err)
			}
		}
		for to, via := range map[string]netip.Addr{"0.0.0.0/0": cable.Addr4.Addr(), "::/0": cable.Addr6.Addr()} {
			if err := box.AddRoute(netip.MustParsePrefix(to), here.Name, via); err != nil {
				t.Fatal(err)
			}
		}
		const publish = "-p tcp --dport 3306 -j DNAT --to-destination "
		for tool, rule := range map[string]string{
			"iptables":  publish + box.Addr4.String() + ":3306",
			"ip6tables": "-i " + s.host.Interfaces[0].Name + " " + publish + "[" + box.Addr6.String() + "]:3306", // for some packets only
		} {
			s.tool("", tool, append([]string{"-t", "nat", "-A", "PREROUTING"}, strings.Fields(rule)...)...)
		}
		s.profile("shop", strings.Replace(services, ", \"1194/udp\"", "", 1)+"place = \"prerouting\"\n")
		s.must("install")
		hosts := []netip.Addr{s.host.Addr4, s.host.Addr6}
		for _, src := range []netip.Addr{client.Addr4, client.Addr6} {
			s.must("grant", "shop", src.String())
		}
		for i, w := range forwarding {
			t.Run(w.name, func(t *testing.T) {
				defer s.tearDown(t)
				s.erect(t, w, "CABLE", cable.Name)
				for _, to := range hosts {
					if w.says == "" {
						answers(t, client, to, "behind the wall", "tcp")
					} else if reaches(t, client, to, "tcp") {
						t.Errorf("what the client says to %s arrives", to)
					}
				}
				said := s.told(t, w, askedOf(i)...)
				if w.says != "" && w.add == "" {
					return // the engine decides what it forwards
				}
				for _, line := range lines(t, w, said) {
					s.tool("", "sh", "-c", line)
				}
				s.told(t, wall{nft: w.nft}, askedOf(i)...)
				for _, to := range hosts {
					answers(t, client, to, "afterwards", "tcp")
				}
			})
		}
	})
}
