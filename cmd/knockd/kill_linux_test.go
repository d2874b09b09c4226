package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"knockkit/internal/lab/labtest"
	"knockkit/server"
)

// TestAnInstallThatIsKilledLeavesTheOldRulesOrTheNewOnes kills the real program at
// moments that are spread over all of its work. In each family the rules are those
// from before or those that were wanted, leases live on, and nothing is in the way
// of the next install.
func TestAnInstallThatIsKilledLeavesTheOldRulesOrTheNewOnes(t *testing.T) {
	const rounds = 45
	eachFlavour(t, func(t *testing.T, s *site) {
		configs := [2]string{s.config, t.TempDir()}
		s.profile("mysql", mysql)
		s.profile("web", web)
		s.config = configs[1]
		s.settings("backend = \"iptables\"\n")
		s.profile("mysql", mysql+"place = \"prerouting\"\n") // rules in two tables
		for i := range 20 {                                  // so that the transaction is long enough to be hit
			s.profile(fmt.Sprintf("p%02d", i), fmt.Sprintf("sequence = [\"%d/tcp\", \"%d/udp\", \"%d/tcp\"]\nopen = [\"%d/tcp\"]\n",
				21000+i, 22000+i, 23000+i, 24000+i))
		}
		s.must("install") // the table mangle is there from now on, if only empty
		// want[i] is what configuration i looks like, by tool.
		tools := []string{"iptables", "ip6tables"}
		var want [2]map[string]string
		var took time.Duration
		for i := range configs {
			s.config = configs[i]
			start := time.Now()
			s.must("install")
			took = time.Since(start)
			want[i] = map[string]string{}
			for _, tool := range tools {
				want[i][tool] = byChain(s.rules(tool))
			}
		}
		s.must("grant", "mysql", "10.9.0.1")
		s.must("grant", "mysql", "2001:db8:9::1")
		is := map[string]int{"iptables": 1, "ip6tables": 1}
		before, between, after := 0, 0, 0
		for round := range rounds {
			set := round % 2
			s.config = configs[set]
			s.killAfter(took * time.Duration(round) * 5 / 4 / rounds)
			s.lockIsFree()
			for _, tool := range tools {
				got := byChain(s.rules(tool))
				switch got {
				case want[set][tool]:
					is[tool] = set
				case want[is[tool]][tool]: // as before
				default:
					t.Fatalf("round %d, %s: neither the old rules nor the new:\n%s", round, tool, got)
				}
			}
			switch {
			case is["iptables"] != set:
				before++
			case is["ip6tables"] != set:
				between++
			default:
				after++
			}
			if !slices.Contains(s.table("mysql.open.KNOCKD4"), netip.MustParseAddr("10.9.0.1")) ||
				!slices.Contains(s.table("mysql.open.KNOCKD6"), netip.MustParseAddr("2001:db8:9::1")) {
				t.Fatalf("round %d: a lease is gone", round)
			}
		}
		t.Logf("killed before any change %d times, between the families %d, after both %d; an install takes %s", before, between, after, took)
		if before == 0 || after == 0 {
			t.Error("the kills did not fall on all of an install's work")
		}
		s.noOrphans()
		s.must("install")
		for _, tool := range tools {
			if n := strings.Count(s.rules(tool), "-A INPUT -j KNOCKD\n"); n != 1 {
				t.Errorf("%s: INPUT jumps to KNOCKD %d times", tool, n)
			}
		}
		if out := s.knockd("status", "--check"); out.Code != 0 {
			t.Errorf("drift in the end: %s", out.Stderr)
		}
	})
}

// killAfter starts an install, and kills it after that time.
func (s *site) killAfter(delay time.Duration) {
	s.t.Helper()
	cmd := s.command("install")
	wait := labtest.Start(s.t, s.host, cmd)
	ended := make(chan struct{})
	go func() {
		_ = wait() // killed or not
		close(ended)
	}()
	select {
	case <-time.After(delay):
		_ = cmd.Process.Kill() // fails if it has just ended
		<-ended
	case <-ended:
	}
}

// lockIsFree waits for the tools that a killed program has left behind: they hold
// its lock until they end.
func (s *site) lockIsFree() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), soon)
	defer cancel()
	if err := s.host.Do(func() error {
		lock, err := server.TakeLock(ctx)
		if err == nil {
			lock.Release()
		}
		return err
	}); err != nil {
		s.t.Fatal(err)
	}
}

// byChain sorts the lines of a saved ruleset by chain: a chain that was taken away
// and made again stands elsewhere.
func byChain(rules string) string {
	lines := strings.Split(rules, "\n")
	slices.SortStableFunc(lines, func(x, y string) int { return strings.Compare(chainOf(x), chainOf(y)) })
	return strings.Join(lines, "\n")
}

func chainOf(line string) string {
	if rest, ok := strings.CutPrefix(line, ":"); ok {
		name, _, _ := strings.Cut(rest, " ")
		return name
	}
	if rest, ok := strings.CutPrefix(line, "-A "); ok {
		name, _, _ := strings.Cut(rest, " ")
		return name + " "
	}
	return ""
}
