package classic_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"knockkit/internal/classic"
	"knockkit/internal/kernel/backend"
	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
	"knockkit/protocol"
	"knockkit/server"
)

// debianKnock is the client of the classic daemon, by its full name: ours is called
// the same.
const debianKnock = "/usr/bin/knock"

// Everything that is carried over is installed, and opened by the client that people
// have today; nobody else gets in. One host has nftables, the others iptables in both flavours.
func TestDebiansKnockOpensWhatIsCarriedOver(t *testing.T) {
	labtest.NeedRoot(t)
	labtest.Need(t, debianKnock, "iptables-nft", "iptables-legacy", "nft")
	imports := map[string]*classic.Import{}
	for file, archive := range golden(t) {
		if im, err := classic.Read(archive.Files[0].Name, archive.Files[0].Data); err == nil && len(im.Profiles) > 0 {
			imports[strings.TrimSuffix(filepath.Base(file), ".txtar")] = im
		}
	}
	if len(imports) < 12 {
		t.Fatalf("%d configurations are carried over, want at least 12", len(imports))
	}
	opens := func(name string) func(*testing.T) {
		return func(t *testing.T) {
			g := newGate(t, name)
			for config, im := range imports {
				t.Run(config, func(t *testing.T) { g.check(t, im) })
			}
		}
	}
	t.Run("nftables", opens("nftables"))
	for _, flavour := range lab.Flavours() {
		t.Run(flavour.Name, func(t *testing.T) {
			t.Setenv("PATH", labtest.PathOf(t, flavour)+":"+os.Getenv("PATH"))
			opens("iptables")(t)
		})
	}
}

// gate is a server and a client that knocks on it.
type gate struct {
	server, laptop *lab.Host
	srv            *server.Server
}

func newGate(t *testing.T, backendName string) *gate {
	g := &gate{server: labtest.NewHost(t, "server"), laptop: labtest.NewHost(t, "laptop")}
	labtest.Join(t, g.server, g.laptop)
	b, _, err := server.OpenBackend(t.Context(), backendName)
	if err != nil {
		t.Fatal(err)
	}
	g.srv = server.New(b, server.DefaultSettings())
	return g
}

// check installs the profiles of a configuration, opens each, and removes them with
// their leases: other configurations have profiles of the same names.
func (g *gate) check(t *testing.T, im *classic.Import) {
	defer func() {
		if err := g.server.Do(func() error {
			_, err := g.srv.Remove(t.Context(), nil)
			return err
		}); err != nil {
			t.Error(err)
		}
	}()
	var profiles []*protocol.Profile
	for _, p := range im.Profiles {
		profiles = append(profiles, p.Parsed)
	}
	if err := g.server.Do(func() error {
		_, err := g.srv.Install(t.Context(), profiles, server.InstallOptions{})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for _, p := range profiles {
		host, _ := g.ends(p)
		if port, ok := firstTCP(p); ok && g.answers(t, host, port, 100*time.Millisecond) {
			t.Errorf("%s: the port answers before anybody has knocked", p.Name)
		}
	}
	for _, p := range profiles {
		host, from := g.ends(p)
		args := []string{"-d", "2", host.String()}
		for _, s := range p.Sequence {
			args = append(args, fmt.Sprintf("%d:%s", s.Knock.Port, s.Knock.Proto))
		}
		labtest.MustRun(t, g.laptop, "", debianKnock, args...)
		labtest.Eventually(t, 5*time.Second, func() error {
			if !g.holds(t, p.Name, from) {
				return fmt.Errorf("%s: knock %s did not open it", p.Name, strings.Join(args, " "))
			}
			return nil
		})
		if port, ok := firstTCP(p); ok && !g.answers(t, host, port, 5*time.Second) {
			t.Errorf("%s: the port does not answer who has knocked", p.Name)
		}
	}
}

// ends returns the addresses of the server and of the laptop that a profile is about.
func (g *gate) ends(p *protocol.Profile) (host, from netip.Addr) {
	if p.Family == protocol.IPv6 {
		return g.server.Addr6, g.laptop.Addr6
	}
	return g.server.Addr4, g.laptop.Addr4
}

func firstTCP(p *protocol.Profile) (port uint16, ok bool) {
	i := slices.IndexFunc(p.Open, func(r protocol.PortRange) bool { return r.Proto == protocol.TCP })
	if i < 0 {
		return 0, false
	}
	return p.Open[i].First, true
}

// holds reports whether an address has a lease, as status says it.
func (g *gate) holds(t *testing.T, profile string, from netip.Addr) bool {
	t.Helper()
	var st server.Status
	if err := g.server.Do(func() (err error) {
		st, err = g.srv.Status(t.Context(), nil, nil)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(st.Sources, func(s backend.Source) bool {
		return s.Profile == profile && s.State == backend.Open && s.Address.Contains(from)
	})
}

// answers reports whether the host refuses a connection: nobody listens there, so
// that is what an open gate looks like. A closed one is silent.
func (g *gate) answers(t *testing.T, host netip.Addr, port uint16, within time.Duration) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	c, err := g.laptop.Dial(ctx, "tcp", net.JoinHostPort(host.String(), fmt.Sprint(port)))
	if err == nil {
		c.Close()
		t.Fatalf("somebody listens on port %d", port)
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}
