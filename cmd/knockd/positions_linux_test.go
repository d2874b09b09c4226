package main

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"knockkit/internal/lab/labtest"
)

const (
	// flood is how many sources are in a position: what a flood of a second or two leaves.
	flood = 60_000

	// mostMemory is what a command may take at its peak, in KB, the tools that it starts
	// included: a small host has no more to spare while it is flooded.
	mostMemory = 64 << 10

	// mostListed is how many positions status lists.
	mostListed = 1000
)

// TestAFloodOfPositionsMakesNoCommandLarge fills the map of positions, and runs every
// command that reads the kernel.
func TestAFloodOfPositionsMakesNoCommandLarge(t *testing.T) {
	labtest.Need(t, "time")
	s := newServedOn(t, "nftables")
	s.profile("web", web)
	s.must("install")
	s.positions("mysql 2/3", flood)
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"grant", "mysql", "10.9.0.1"}, "mysql is open for 10.9.0.1 for 1h"},
		{[]string{"grant", "mysql", "10.9.0.2", "--for", "30m"}, "mysql is open for 10.9.0.2 for 30m"},
		{[]string{"revoke", "mysql", "10.9.0.1"}, "the lease of 10.9.0.1 for mysql is over"},
		{[]string{"unban", "10.9.0.1"}, "not banned"},
		{[]string{"install"}, "mysql, web (nftables)"},
		{[]string{"doctor"}, ""},
		{[]string{"status", "--json"}, ""},
		{[]string{"remove", "web"}, "removed: web"},
	} {
		if said := s.small(c.args...); !strings.Contains(said, c.says) {
			t.Errorf("knockd %v says %s", c.args, said)
		}
	}
	s.must("install", "web") // status --check has nothing to say then

	said := s.small("status", "--check")
	if listed := strings.Count(said, " knocking "); listed == 0 || listed > mostListed {
		t.Errorf("status lists %d positions, not up to %d", listed, mostListed)
	}
	if !strings.Contains(said, "60,000") && !strings.Contains(said, "60000") {
		t.Errorf("status does not say that there are %d: %.2000s", flood, said)
	}

	service := s.run() // has installed
	if peak := peakOf(t, service.cmd.Process.Pid); peak > mostMemory {
		t.Errorf("knockd run takes %d KB", peak)
	}
	s.knock(s.wire.Peer4, "icmp", "7/tcp", "8000/tcp")
	if !s.answers(s.wire.Peer4) {
		t.Error("the right client does not open")
	}
	if code := service.stop(); code != 0 {
		t.Errorf("knockd run ends with %d", code)
	}
}

// positions puts so many sources into a position for an hour, as if they had knocked.
func (s *served) positions(position string, n int) {
	s.t.Helper()
	rules := s.tool("", "nft", "list", "table", "inet", "knockd")
	number := regexp.MustCompile(`"now at (\S+) ` + position).FindStringSubmatch(rules)
	if number == nil {
		s.t.Fatalf("no rule leads to %s:\n%s", position, rules)
	}
	var text strings.Builder
	addr := netip.MustParseAddr("10.100.0.0")
	for range n {
		fmt.Fprintf(&text, "add element inet knockd position4 { %s timeout 1h : %s }\n", addr, number[1])
		addr = addr.Next()
	}
	s.tool(text.String(), "nft", "-f", "-")
}

// small runs the program to its end, fails unless it ends well and stays small, and
// returns what it says on either stream. Another program asks for the memory: a child
// begins with its parent's peak, and a test's is large.
func (s *site) small(args ...string) string {
	s.t.Helper()
	file := filepath.Join(s.t.TempDir(), "peak")
	words := append([]string{"--quiet", "--format=%M", "--output=" + file, program(s.t), "--config", s.config}, args...)
	out := s.try("", "time", words...)
	if out.Code != 0 {
		s.t.Errorf("knockd %s: exit %d\n%.2000s\n%.2000s", strings.Join(args, " "), out.Code, out.Stdout, out.Stderr)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		s.t.Fatal(err)
	}
	peak, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Logf("knockd %s takes %d KB", strings.Join(args, " "), peak)
	if peak > mostMemory {
		s.t.Errorf("knockd %s takes %d KB, not at most %d", strings.Join(args, " "), peak, mostMemory)
	}
	return out.Stdout + out.Stderr
}

// peakOf is the most memory that a running process has had, in KB.
func peakOf(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(text)
	if found == nil {
		t.Fatalf("no VmHWM in %s", text)
	}
	kb, err := strconv.Atoi(string(found[1]))
	if err != nil {
		t.Fatal(err)
	}
	return kb
}
