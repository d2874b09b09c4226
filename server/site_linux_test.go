package server_test

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"knockkit/internal/kernel/backend"
	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
	"knockkit/protocol"
	"knockkit/protocol/format"
	"knockkit/server"
)

func TestMain(m *testing.M) { labtest.Main(m) }

// site is a host with a backend, seen through a wire: the test writes the packets
// that come in, from any source, and reads what the host answers.
type site struct {
	t    *testing.T
	host *lab.Host
	wire *lab.Wire
	srv  *server.Server
	port uint16 // the source port of the next packet
}

// eachBackend runs a test on every backend that the machine has.
func eachBackend(t *testing.T, f func(t *testing.T, name string)) {
	labtest.NeedTUN(t)
	labtest.NeedRoot(t)
	labtest.Need(t, "iptables-nft-restore", "iptables-legacy-restore", "nft")
	for _, flavour := range lab.Flavours() {
		t.Run(flavour.Name, func(t *testing.T) {
			t.Setenv("PATH", labtest.PathOf(t, flavour)+":"+os.Getenv("PATH"))
			f(t, "iptables")
		})
	}
	t.Run("nftables", func(t *testing.T) { f(t, "nftables") })
}

// newSite returns a host with nothing installed.
func newSite(t *testing.T, backendName string, settings server.Settings) *site {
	t.Helper()
	h := labtest.NewHost(t, "server")
	s := &site{t: t, host: h, wire: labtest.Wire(t, h), port: 20000}
	b, _, err := server.OpenBackend(t.Context(), backendName)
	if err != nil {
		t.Fatal(err)
	}
	s.srv = server.New(b, settings)
	return s
}

func strict() server.Settings { return server.DefaultSettings() }

// do calls f inside the host.
func (s *site) do(f func() error) {
	s.t.Helper()
	if err := s.host.Do(f); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) install(profiles ...*protocol.Profile) {
	s.t.Helper()
	s.do(func() error {
		_, err := s.srv.Install(s.t.Context(), profiles, server.InstallOptions{})
		return err
	})
}

func (s *site) sources() []backend.Source {
	s.t.Helper()
	var st server.Status
	s.do(func() (err error) {
		st, err = s.srv.Status(s.t.Context(), nil, nil)
		return err
	})
	if len(st.Drift) > 0 {
		s.t.Errorf("drift: %q", st.Drift)
	}
	return st.Sources
}

// holds reports whether the source has a lease of the profile, as status says it.
func (s *site) holds(profile string, src netip.Addr) bool {
	s.t.Helper()
	return slices.ContainsFunc(s.sources(), func(x backend.Source) bool {
		return x.Profile == profile && x.State == backend.Open && x.Address.Contains(src)
	})
}

// dest is the host's address of the source's family.
func (s *site) dest(src netip.Addr) netip.Addr {
	if src.Is4() {
		return s.host.Addr4
	}
	return s.host.Addr6
}

// packet builds a knock as a new flow.
func (s *site) packet(src netip.Addr, k protocol.Knock) []byte {
	s.port++
	if s.port < 20000 {
		s.port = 20000
	}
	from, to := netip.AddrPortFrom(src, s.port), netip.AddrPortFrom(s.dest(src), k.Port)
	switch k.Proto {
	case protocol.TCP:
		return lab.SYN(from, to)
	case protocol.UDP:
		return lab.UDP(from, to, []byte("x"))
	}
	return lab.Echo(src, s.dest(src), s.port, 1, nil)
}

// send lets packets come in, each as a new flow, and returns what the host answers.
func (s *site) send(src netip.Addr, knocks ...protocol.Knock) []lab.Packet {
	s.t.Helper()
	for _, k := range knocks {
		if err := s.wire.Inject(s.packet(src, k)); err != nil {
			s.t.Fatal(err)
		}
	}
	return s.answers()
}

// answers returns what the host has sent since the last call.
func (s *site) answers() []lab.Packet {
	s.t.Helper()
	raw, err := s.wire.Drain()
	if err != nil {
		s.t.Fatal(err)
	}
	var all []lab.Packet
	for _, r := range raw {
		p, err := lab.Parse(r)
		if err != nil {
			s.t.Fatal(err)
		}
		if p.Proto == protocol.ICMP && (p.ICMPType >= 133 && p.ICMPType <= 143) {
			continue // neighbour discovery and the like
		}
		all = append(all, p)
	}
	return all
}

// verdict says what a connection gets: "open" (SYN+ACK), "refused" (a reset or an
// ICMP error) or "silent".
func (s *site) verdict(src netip.Addr, port uint16) string {
	s.t.Helper()
	s.answers()
	for _, p := range s.send(src, protocol.Knock{Proto: protocol.TCP, Port: port}) {
		switch {
		case p.Dst != src, p.Proto == protocol.TCP && p.DstPort != s.port:
			// The kernel says it again to a connection that was never finished.
		case p.Proto == protocol.TCP && p.Flags.Has(lab.FlagSYN|lab.FlagACK):
			return "open"
		case p.Proto == protocol.TCP && p.Flags.Has(lab.FlagRST), p.Proto == protocol.ICMP:
			return "refused"
		}
	}
	return "silent"
}

// expect fails unless a connection gets the verdict.
func (s *site) expect(want string, src netip.Addr, port uint16) {
	s.t.Helper()
	if got := s.verdict(src, port); got != want {
		s.t.Errorf("a connection from %s to %d/tcp is %s, not %s", src, port, got, want)
	}
}

// listen lets something answer on a TCP port, over both families.
func (s *site) listen(port uint16) {
	s.t.Helper()
	labtest.Listen(s.t, s.host, "tcp", fmt.Sprintf("[::]:%d", port))
}

// tcp, udp and ping name knocks.
func tcp(port uint16) protocol.Knock { return protocol.Knock{Proto: protocol.TCP, Port: port} }
func udp(port uint16) protocol.Knock { return protocol.Knock{Proto: protocol.UDP, Port: port} }

var ping = protocol.Knock{Proto: protocol.ICMP}

// parse reads a profile as its file would be.
func parse(t testing.TB, name, text string) *protocol.Profile {
	t.Helper()
	p, diagnostics := format.ParseProfile(name+".toml", []byte(text))
	if diagnostics.HasErrors() {
		t.Fatal(diagnostics)
	}
	return p
}

// article is a profile with most keys.
func article(t testing.TB, more string) *protocol.Profile {
	return parse(t, "mysql", `sequence = ["icmp", "echo/tcp", "8000/tcp"]
open = ["3306/tcp"]
`+more)
}

// eachFamily runs f with two forged sources of each family.
func eachFamily(t *testing.T, f func(t *testing.T, one, other netip.Addr)) {
	t.Run("ipv4", func(t *testing.T) { f(t, lab.ForgedAddr4(1), lab.ForgedAddr4(2)) })
	t.Run("ipv6", func(t *testing.T) { f(t, lab.ForgedAddr6(1), lab.ForgedAddr6(2)) })
}

// run calls a tool inside the host and returns what it prints.
func (s *site) run(name string, args ...string) string {
	s.t.Helper()
	return labtest.MustRun(s.t, s.host, "", name, args...)
}

// soon is how long a condition may take that needs no waiting.
const soon = 5 * time.Second
