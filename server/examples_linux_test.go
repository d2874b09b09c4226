package server_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"knockkit/protocol"
	"knockkit/protocol/format"
)

// TestEveryExampleIsInstalledAndOpenedByItsOwnKnock leaves none out: people start from these
// files. Signed ones are for nftables.
func TestEveryExampleIsInstalledAndOpenedByItsOwnKnock(t *testing.T) {
	files, err := filepath.Glob("../examples/*.toml")
	if err != nil || len(files) < 6 {
		t.Fatalf("examples: %v, %v; want 6 at least", files, err)
	}
	for _, file := range files {
		t.Run(format.ProfileName(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			p := parse(t, format.ProfileName(file), string(text))
			eachBackend(t, func(t *testing.T, name string) {
				if p.Signed != nil && name != "nftables" {
					return
				}
				s := newSite(t, name, strict())
				if p.Interface != "" {
					p.Interface = s.host.Interfaces[0].Name // the example's is a usual name
				}
				s.install(p)
				for _, src := range s.allowed(p) {
					s.checkOpens(p, src)
				}
			})
		})
	}
}

// allowed returns a source of each family that may open the profile.
func (s *site) allowed(p *protocol.Profile) []netip.Addr {
	var all []netip.Addr
	for _, f := range protocol.Families() {
		switch from := protocol.PrefixesIn(p.From, f); {
		case !p.OpensIn(f):
		case len(from) > 0:
			all = append(all, from[0].Addr().Next().Next()) // the first may be the host's own
		default:
			all = append(all, forged(f, 1))
		}
	}
	return all
}

// open sends the profile's sequence, or a token of a key that is made for it.
func (s *site) open(p *protocol.Profile, src netip.Addr) {
	s.t.Helper()
	if p.Signed == nil {
		s.send(src, sequence(p)...)
		return
	}
	key, index := newKey(p.Name, "alice", 1), 0
	if src.Is6() {
		index = 1
	}
	signed := &signedSite{site: s, now: time.Now(), keys: []protocol.Key{key}}
	signed.fresh(key)
	token := key.Token(protocol.Slot(signed.now), index)
	s.inject(signed.knock(src, p.Signed.Carrier, token[:]))
}

// checkOpens tries the profile's first port of each protocol before and after its
// knock, and gives the lease back where it can be.
func (s *site) checkOpens(p *protocol.Profile, src netip.Addr) {
	s.t.Helper()
	knock := protocol.Knock{Proto: p.Open[0].Proto, Port: p.Open[0].First}
	natural := "rst+ack" // nobody listens
	if knock.Proto == protocol.UDP {
		natural = "port unreachable"
	}
	shut := map[protocol.Closed]string{protocol.ClosedDrop: "silence", protocol.ClosedReject: natural}[p.Closed]
	if got := s.answerTo(src, knock); got != shut {
		s.t.Errorf("%s at %s gets %s before it knocked, not %s", src, knock, got, shut)
	}
	s.open(p, src)
	if !s.holds(p.Name, src) {
		s.t.Fatalf("the knock does not open %s for %s", p.Name, src)
	}
	if got := s.answerTo(src, knock); got != natural {
		s.t.Errorf("%s at %s gets %s after it knocked, not %s", src, knock, got, natural)
	}
	if p.Close != nil {
		s.send(src, *p.Close)
		if got := s.answerTo(src, knock); got != shut {
			s.t.Errorf("%s at %s gets %s after its close knock, not %s", src, knock, got, shut)
		}
	}
}
