package server_test

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
	"knockkit/protocol"
)

// The ports that the engine publishes: of one we gate, of the other nobody does.
const published, ungated = 3306, 8080

// ship is a host with a container behind it: a second namespace that listens on the
// ports to which an engine's rules lead.
type ship struct {
	*site
	engine    string
	rules     map[string]string // by the tool that reads them
	box       *lab.Host         // the container
	container net.Listener      // behind the gated port
}

// eachEngine runs a test with the rules of every container engine, on every backend.
func eachEngine(t *testing.T, f func(s *ship)) {
	files, err := filepath.Glob("testdata/engines/*.txtar")
	if err != nil || len(files) < 3 {
		t.Fatalf("rules of engines: %v, %v", files, err)
	}
	eachBackend(t, func(t *testing.T, name string) {
		for _, file := range files {
			engine := strings.TrimSuffix(filepath.Base(file), ".txtar")
			t.Run(engine, func(t *testing.T) { f(newShip(t, name, engine)) })
		}
	})
}

func newShip(t *testing.T, backendName, engine string) *ship {
	t.Helper()
	archive, err := txtar.ParseFile("testdata/engines/" + engine + ".txtar")
	if err != nil {
		t.Fatal(err)
	}
	s := &ship{site: newSite(t, backendName, strict()), engine: engine, rules: map[string]string{}}
	container := labtest.NewHost(t, "container")
	labtest.Join(t, s.host, container)
	s.box = container
	bridge, here := s.host.Interfaces[1], container.Interfaces[0]
	for _, name := range []string{"ipv4/ip_forward", "ipv6/conf/all/forwarding"} {
		if err := s.host.Sysctl(name, "1"); err != nil {
			t.Fatal(err)
		}
	}
	for to, via := range map[netip.Prefix]netip.Addr{
		netip.MustParsePrefix("0.0.0.0/0"): bridge.Addr4.Addr(), netip.MustParsePrefix("::/0"): bridge.Addr6.Addr()} {
		if err := container.AddRoute(to, here.Name, via); err != nil {
			t.Fatal(err)
		}
	}
	s.container = labtest.Listen(t, container, "tcp", fmt.Sprintf("[::]:%d", published))
	labtest.Listen(t, container, "tcp", "[::]:80")
	names := strings.NewReplacer("@IF@", bridge.Name, "ADDR4", container.Addr4.String(), "ADDR6", container.Addr6.String())
	for _, part := range archive.Files {
		s.rules[part.Name] = names.Replace(string(part.Data))
	}
	s.start()
	return s
}

// start loads the engine's rules, as it does when it starts.
func (s *ship) start() {
	s.t.Helper()
	for tool, rules := range s.rules {
		if tool == "nft" {
			labtest.MustRun(s.t, s.host, rules, "nft", "-f", "-")
		} else {
			labtest.MustRun(s.t, s.host, rules, tool+"-restore", "--noflush")
		}
	}
}

// stop takes the engine's rules away.
func (s *ship) stop() {
	s.t.Helper()
	for tool := range s.rules {
		if tool == "nft" {
			for _, table := range []string{"ip docker-bridges", "ip6 docker-bridges", "inet netavark"} {
				labtest.Run(s.t, s.host, "", "nft", append([]string{"delete", "table"}, strings.Fields(table)...)...)
			}
			continue
		}
		for _, table := range []string{"nat", "filter"} {
			dump := labtest.MustRun(s.t, s.host, "", tool+"-save", "-t", table)
			var undo strings.Builder
			for line := range strings.Lines(dump) {
				if rest, ok := strings.CutPrefix(line, "-A "); ok && !strings.Contains(line, "KNOCKD") {
					undo.WriteString("-D " + rest)
				}
			}
			labtest.MustRun(s.t, s.host, "*"+table+"\n"+undo.String()+"COMMIT\n", tool+"-restore", "--noflush")
		}
	}
}

// theirs is all that other tools have in the kernel.
func (s *ship) theirs() string {
	s.t.Helper()
	if _, ok := s.rules["nft"]; !ok {
		return s.foreignRules()
	}
	text := ""
	for table := range strings.Lines(s.run("nft", "list", "tables")) {
		name := strings.TrimPrefix(strings.TrimSpace(table), "table ")
		if strings.Contains(name, "docker") || strings.Contains(name, "netavark") {
			text += s.run("nft", append([]string{"-s", "list", "table"}, strings.Fields(name)...)...)
		}
	}
	return text
}

// foreignRules is what iptables-save prints, without ours and without counters.
func (s *ship) foreignRules() string {
	s.t.Helper()
	text := ""
	for _, tool := range []string{"iptables-save", "ip6tables-save"} {
		for line := range strings.Lines(s.run(tool, "-t", "nat") + s.run(tool, "-t", "filter")) {
			if strings.HasPrefix(line, ":") {
				line, _, _ = strings.Cut(line, " [") // the counters
			}
			if !strings.HasPrefix(line, "#") && !strings.Contains(line, "KNOCKD") {
				text += strings.TrimSpace(line) + "\n"
			}
		}
	}
	return text
}

// reaches reports whether a connection to a published port is answered. The answer
// comes from another host: one from a port that nobody gates, asked for later, tells
// when no other can come any more.
func (s *ship) reaches(src netip.Addr, port uint16) bool {
	s.t.Helper()
	s.answers()
	control := forged(protocol.FamilyOf(src), 4000)
	for _, p := range [][]byte{s.packet(src, tcp(port)), s.packet(control, tcp(ungated))} {
		if err := s.wire.Inject(p); err != nil {
			s.t.Fatal(err)
		}
	}
	answered := false
	labtest.Eventually(s.t, soon, func() error {
		for _, p := range s.answers() {
			switch {
			case p.Proto != protocol.TCP || !p.Flags.Has(lab.FlagSYN|lab.FlagACK):
			case p.Dst == src:
				answered = true
			case p.Dst == control:
				return nil
			}
		}
		return fmt.Errorf("%s: %d/tcp of the container, which nobody gates, does not answer", s.engine, ungated)
	})
	return answered
}

func (s *ship) expectReach(want bool, src netip.Addr, when string) {
	s.t.Helper()
	if got := s.reaches(src, published); got != want {
		s.t.Errorf("%s: %s reaches the container: %v, not %v", when, src, got, want)
	}
}

// row returns the engine's row of the page's table: who gets in.
func (s *ship) row(columns ...bool) string {
	row := "| " + s.engine
	for _, in := range columns {
		row += " | " + map[bool]string{true: "in", false: "out"}[in]
	}
	return row + " |"
}

func TestAPublishedPortIsGatedBeforeDestinationNAT(t *testing.T) {
	page, err := os.ReadFile("../docs/coexistence.md")
	if err != nil {
		t.Fatal(err)
	}
	eachEngine(t, func(s *ship) {
		before := s.theirs()
		at := func(more string) *protocol.Profile { return article(s.t, more) }
		both := []netip.Addr{lab.ForgedAddr4(1), lab.ForgedAddr6(1)}
		gated := at(`place = "prerouting"`)
		for _, one := range both {
			other := forged(protocol.FamilyOf(one), 2)
			s.install(at(""))
			ungated := s.reaches(one, published) // why there is `place`
			s.install(gated)
			stranger := s.reaches(one, published)
			s.send(one, sequence(gated)...)
			row := s.row(ungated, stranger, s.reaches(one, published), s.reaches(other, published))
			if !strings.Contains(string(page), "\n"+row+"\n") {
				s.t.Errorf("%s: the page does not have the row %s", one, row)
			}
		}
		s.stop()
		s.start()
		for _, one := range both {
			s.expectReach(true, one, "with a lease, after the engine's restart")
			s.expectReach(false, forged(protocol.FamilyOf(one), 2), "after the engine's restart")
		}
		s.do(func() error {
			_, err := s.srv.Revoke(s.t.Context(), "mysql", single(both[0]), false)
			return err
		})
		s.expectReach(false, both[0], "after the lease was revoked")
		s.do(func() error {
			_, err := s.srv.Remove(s.t.Context(), nil)
			return err
		})
		for _, stranger := range both {
			s.expectReach(true, stranger, "after the removal")
		}
		if after := s.theirs(); after != before {
			s.t.Errorf("the engine's rules were\n%s\nand are\n%s", before, after)
		}
	})
}

func TestALeaseForOneConnectionLetsOneIntoAContainer(t *testing.T) {
	eachEngine(t, func(s *ship) {
		p := article(s.t, "place = \"prerouting\"\nonce = true")
		s.install(p)
		for _, one := range []netip.Addr{lab.ForgedAddr4(1), lab.ForgedAddr6(1)} {
			s.send(one, sequence(p)...)
			s.expectReach(true, one, "the first connection")
			s.expectReach(false, one, "the second connection")
		}
	})
}

// TestAGateBeforeNATServesAPortOfTheHostItselfToo: a container that is stopped, or an
// engine without rules of its own, leaves the port to the host.
func TestAGateBeforeNATServesAPortOfTheHostItselfToo(t *testing.T) {
	for _, more := range []string{"", "once = true", "renew = true", "prefix = { ipv4 = 24, ipv6 = 64 }"} {
		p := article(t, "place = \"prerouting\"\n"+more)
		t.Run(more, func(t *testing.T) {
			gated(t, []*protocol.Profile{p}, func(s *site, one, other netip.Addr) {
				s.expect("silent", one, 3306)
				s.send(one, sequence(p)...)
				s.expect("open", one, 3306)
				if !p.Once && !s.holds("mysql", one) {
					s.t.Error("the lease is gone")
				}
				if p.Once {
					s.expect("silent", one, 3306)
				}
				if p.PrefixIPv4 == 32 {
					s.expect("silent", other, 3306)
				}
			})
		})
	}
}

func TestConnectionsToAContainerEndWithALeaseThatCuts(t *testing.T) {
	eachEngine(t, func(s *ship) {
		p := article(s.t, "place = \"prerouting\"\ncut = true\nclose = \"999/tcp\"")
		s.install(p)
		client := s.neighbour()
		for _, src := range []netip.Addr{client.Addr4, client.Addr6} {
			s.send(src, sequence(p)...)
			c := s.connect(client, s.container, src)
			if err := c.say("with a lease"); err != nil {
				s.t.Error(err)
			}
			s.send(src, tcp(999)) // gives the lease back
			if text, err := c.hear("without"); err == nil {
				s.t.Errorf("%q reached the container over %s after the lease", text, src)
			}
		}
	})
}

// TestARevokedLeaseEndsConnectionsToAContainer: also when the container is the next to
// send, as the engine would translate that into what the client expects.
func TestARevokedLeaseEndsConnectionsToAContainer(t *testing.T) {
	eachBackend(t, func(t *testing.T, name string) {
		s := newShip(t, name, "docker-iptables")
		p := article(t, `place = "prerouting"`)
		s.install(p)
		client := s.neighbour()
		for _, src := range []netip.Addr{client.Addr4, client.Addr6} {
			s.send(src, sequence(p)...)
			c := s.connect(client, s.container, src)
			if err := c.say("with a lease"); err != nil {
				t.Error(err)
			}
			if _, ended := s.revoke("mysql", src, true); ended != 1 {
				t.Errorf("%d connections from %s were ended", ended, src)
			}
			if _, err := fmt.Fprintln(c.server, "without"); err != nil {
				t.Error(err)
			}
			labtest.Eventually(t, soon, func() error { return ended(c.server) })
			if text, err := c.hear("without"); err == nil {
				t.Errorf("%q reached the container over %s", text, src)
			}
		}
	})
}

// TestConnectionsThatAreTranslatedForOthersAreNotCut: to an address that is not one of
// this host's, as those of services in a cluster are.
func TestConnectionsThatAreTranslatedForOthersAreNotCut(t *testing.T) {
	eachBackend(t, func(t *testing.T, name string) {
		s := newShip(t, name, "podman-nftables")
		s.install(article(t, "place = \"prerouting\"\ncut = true"))
		labtest.MustRun(t, s.host, fmt.Sprintf(`table inet services {
	chain prerouting {
		type nat hook prerouting priority dstnat
		ip daddr 203.0.113.7 tcp dport 3306 dnat ip to %s
		ip6 daddr 2001:db8:77::7 tcp dport 3306 dnat ip6 to %s
	}
}`, s.box.Addr4, s.box.Addr6), "nft", "-f", "-")
		client := s.neighbour()
		cable := s.host.Interfaces[len(s.host.Interfaces)-1]
		for service, via := range map[string]netip.Addr{"203.0.113.7": cable.Addr4.Addr(), "2001:db8:77::7": cable.Addr6.Addr()} {
			to := netip.MustParseAddr(service)
			if err := client.AddRoute(netip.PrefixFrom(to, to.BitLen()), client.Interfaces[0].Name, via); err != nil {
				t.Fatal(err)
			}
			if err := s.connectTo(client, s.container, netip.AddrPortFrom(to, published)).say("for others"); err != nil {
				t.Errorf("%s: %v", service, err)
			}
		}
	})
}

// hear lets the client send a line, and returns what arrives of it within a moment.
func (c *talk) hear(line string) (string, error) {
	if err := c.server.SetReadDeadline(time.Now().Add(300 * time.Millisecond)); err != nil {
		return "", err
	}
	if _, err := fmt.Fprintln(c.client, line); err != nil {
		return "", err
	}
	return bufio.NewReader(c.server).ReadString('\n')
}
