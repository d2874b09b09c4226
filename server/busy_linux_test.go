package server_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"knockkit/internal/kernel/backend"
	"knockkit/internal/lab/labtest"
	"knockkit/protocol"
	"knockkit/server"
)

// TestALeaseCanGetAnotherTimeWhileManyEnd is about nftables: the kernel refuses to delete
// what has ended in the moment before.
func TestALeaseCanGetAnotherTimeWhileManyEnd(t *testing.T) {
	s := newSite(t, "nftables", strict())
	s.install(article(t, "lease = \"20s\""))
	var all strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&all, "add element inet knockd open4-mysql { %s timeout 20s expires %dms }\n", forged4(i), 10*(i+1))
	}
	labtest.MustRun(t, s.host, all.String(), "nft", "-f", "-")
	s.install(article(t, "lease = \"30s\""))
	s.grant("mysql", forged4(5000), 0)
	if !s.holds("mysql", forged4(1999)) || !s.holds("mysql", forged4(5000)) {
		t.Error("leases were lost")
	}
}

// TestAnInstallBesideWhatCannotBeReadIsRefused: it would take the other gates away.
func TestAnInstallBesideWhatCannotBeReadIsRefused(t *testing.T) {
	eachBackend(t, func(t *testing.T, name string) {
		s := newSite(t, name, strict())
		s.listen(3306)
		s.install(article(t, ""))
		if name == "nftables" {
			labtest.MustRun(t, s.host, "flush chain inet knockd about\nadd rule inet knockd about continue comment \"profile 1/2 x\"\n", "nft", "-f", "-")
		} else {
			labtest.MustRun(t, s.host, "", "iptables", "-A", "KNOCKD-ABOUT", "-m", "comment", "--comment", "profile 1/1 x")
		}
		web := parse(t, "web", "sequence = [\"1001/tcp\"]\nopen = [\"80/tcp\"]")
		if err := s.refuse(web); err == nil || !strings.Contains(err.Error(), "cannot be read and would be lost") {
			t.Errorf("got %v", err)
		}
		s.expect("silent", forged4(1), 3306)
		s.do(func() error {
			_, err := s.srv.Install(t.Context(), []*protocol.Profile{web, article(t, "")}, server.InstallOptions{Exactly: true})
			return err
		})
		s.expect("silent", forged4(1), 3306)
	})
}

// TestOfTwoLeasesTheLongerMovesAlong when the backend changes: one by hand, one from a knock.
func TestOfTwoLeasesTheLongerMovesAlong(t *testing.T) {
	s := newSite(t, "iptables", strict())
	s.listen(3306)
	s.install(article(t, "lease = \"1h\""))
	s.grant("mysql", forged4(1), 5*time.Minute)
	s.send(forged4(1), ping, tcp(7), tcp(8000))
	b, _, err := server.OpenBackend(t.Context(), "nftables")
	if err != nil {
		t.Fatal(err)
	}
	s.srv = server.New(b, strict())
	s.install()
	n := 0
	for _, x := range s.sources() {
		if x.State == backend.Open {
			n++
			if x.Left < 50*time.Minute {
				t.Errorf("%s is left of an hour", x.Left)
			}
		}
	}
	if n != 1 {
		t.Errorf("%d leases moved along, not one", n)
	}
}
