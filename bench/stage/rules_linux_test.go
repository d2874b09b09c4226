package stage_test

import (
	"net/netip"
	"testing"
	"time"

	"knockkit/bench/stage"
	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
)

func TestMain(m *testing.M) { labtest.Main(m) }

// TestWhatIsComparedDoesWhatItIsComparedFor: a cost means something only where the
// rules open for the right client, and for nobody else.
func TestWhatIsComparedDoesWhatItIsComparedFor(t *testing.T) {
	labtest.NeedRoot(t)
	labtest.NeedTUN(t)
	labtest.Need(t, "iptables", "iptables-restore", "nft")
	profiles, err := stage.Profiles(3, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	p := profiles[1] // neither the first nor the last
	for _, rules := range stage.AllRules() {
		t.Run(rules.Name, func(t *testing.T) {
			s, err := stage.NewSite(rules.Name)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { s.Close() })
			labtest.Listen(t, s.Host, "tcp", netip.AddrPortFrom(s.Host.Addr4, p.Open[0].First).String())
			if err := rules.Apply(t.Context(), s.Host, profiles); err != nil {
				t.Fatal(err)
			}
			opens := func(from netip.Addr, port uint16) bool {
				t.Helper()
				ok, err := s.Opens(netip.AddrPortFrom(from, port), p.Open[0].First)
				if err != nil {
					t.Fatal(err)
				}
				return ok
			}
			stranger, client := lab.ForgedAddr4(1), s.Wire.Peer4
			if opens(stranger, 4000) != (rules.Name == stage.NoRules) {
				t.Errorf("to a stranger the port is open: %t", opens(stranger, 4001))
			}
			for i, step := range p.Sequence {
				knock := lab.SYN(netip.AddrPortFrom(client, uint16(5000+i)), netip.AddrPortFrom(s.Host.Addr4, step.Knock.Port))
				if err := s.Wire.Inject(knock); err != nil {
					t.Fatal(err)
				}
			}
			if opens(client, 6000) != (rules.Profiles || rules.Name == stage.NoRules) {
				t.Errorf("to who knocked the port is open: %t", opens(client, 6001))
			}
			if err := rules.Refresh(t.Context(), s.Host); err != nil {
				t.Error(err)
			}
			packets := stage.Packets(stage.Elsewhere, profiles, s.Host.Addr4, 200)
			ns, err := stage.Burst{WarmUp: 10, Limit: time.Second}.Inject(s.Wire, packets)
			if err != nil || ns <= 0 {
				t.Errorf("a packet costs %v ns (%v)", ns, err)
			}
		})
	}
}

func TestAVisitOpensOverTheCableWhileAFloodGoesOn(t *testing.T) {
	labtest.Need(t, "nft")
	profiles, err := stage.Profiles(1, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	p := profiles[0]
	c, err := stage.NewCable("host", p.Open[0].First)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := stage.ApplyOurs(t.Context(), c.Host, "nftables", profiles); err != nil {
		t.Fatal(err)
	}
	visit := stage.Visit{Knocks: stage.Sequence(p), Gap: time.Millisecond, Every: time.Millisecond, Within: 2 * time.Second}
	flooded := make(chan int, 1)
	go func() {
		sent, err := c.FloodFor(t.Context(), stage.Packets(stage.First, profiles, c.Host.Addr4, 1000), 1000, 300*time.Millisecond)
		if err != nil {
			t.Error(err)
		}
		flooded <- sent
	}()
	for range 3 {
		v, err := c.Visitor()
		if err != nil {
			t.Fatal(err)
		}
		if took, ok, err := v.Visit(t.Context(), visit); err != nil || !ok || took <= 0 {
			t.Errorf("opened: %t, after %v (%v)", ok, took, err)
		}
	}
	if sent := <-flooded; sent == 0 {
		t.Error("the flood was none")
	}
}
