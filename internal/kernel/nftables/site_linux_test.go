package nftables

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"knockkit/internal/kernel/backend"
	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
	"knockkit/protocol"
	"knockkit/protocol/format"
)

func TestMain(m *testing.M) { labtest.Main(m) }

// site is a host whose table the backend reads and commits.
type site struct {
	*testing.T
	host *lab.Host
}

func newSite(t *testing.T) *site {
	labtest.Need(t, "nft")
	return &site{t, labtest.NewHost(t, "server")}
}

func (s *site) do(f func() error) {
	s.Helper()
	if err := s.host.Do(f); err != nil {
		s.Fatal(err)
	}
}

func (s *site) nft(text string) {
	s.Helper()
	labtest.MustRun(s, s.host, text, "nft", "-f", "-")
}

// everything is as deep as a reading can be.
var everything = backend.Depth{Rules: true, Leases: true, Positions: 1000}

func (s *site) read(d backend.Depth) *backend.Reading {
	s.Helper()
	var r *backend.Reading
	s.do(func() (err error) {
		r, err = New().Read(s.Context(), d)
		return err
	})
	return r
}

func (s *site) commit(p backend.Plan, err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
	s.do(func() error {
		_, err := New().Commit(s.Context(), p)
		return err
	})
}

func (s *site) plan(want backend.Want) (backend.Plan, error) {
	s.Helper()
	return s.read(everything).Plan(want)
}

// install makes the profiles what is installed.
func (s *site) install(profiles ...*protocol.Profile) {
	s.Helper()
	s.commit(s.plan(compiled(s.T, profiles...)))
}

// grant gives a lease: for the profile's own time where d is 0.
func (s *site) grant(profile, holder string, d time.Duration) {
	s.Helper()
	s.commit(s.read(backend.Depth{Leases: true, Profile: profile}).Change([]backend.Source{{Profile: profile, Address: prefix(holder), Left: d, ByHand: d > 0, State: backend.Open}}, nil))
}

func prefix(holder string) netip.Prefix {
	if strings.Contains(holder, "/") {
		return netip.MustParsePrefix(holder)
	}
	addr := netip.MustParseAddr(holder)
	return netip.PrefixFrom(addr, addr.BitLen())
}

func profile(t testing.TB, name, text string) *protocol.Profile {
	t.Helper()
	p, diagnostics := format.ParseProfile(name+".toml", []byte(text))
	if diagnostics.HasErrors() {
		t.Fatal(diagnostics)
	}
	return p
}

// mysql is the profile of the article with more lines.
func mysql(t testing.TB, more string) *protocol.Profile {
	return profile(t, "mysql", "sequence = [\"icmp\", \"7/tcp\", \"8000/tcp\"]\nopen = [\"3306/tcp\"]\n"+more)
}

func compiled(t testing.TB, profiles ...*protocol.Profile) backend.Want {
	t.Helper()
	want, err := backend.Compile(profiles, protocol.Policy{Strict: true, Ban: &protocol.Ban{After: 3, For: time.Hour}})
	if err != nil {
		t.Fatal(err)
	}
	return want
}

// holdersOf lists the sources in a state, as "profile address".
func holdersOf(r *backend.Reading, state backend.SourceState) string {
	var all []string
	for _, x := range r.Sources {
		if x.State == state {
			all = append(all, strings.TrimSpace(x.Profile+" "+protocol.PrefixText(x.Address)))
		}
	}
	return strings.Join(all, ", ")
}
func holder(x backend.Source) string {
	return strings.TrimSuffix(strings.TrimSuffix(x.Address.String(), "/32"), "/128")
}
