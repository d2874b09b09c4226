package server_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"knockkit/internal/kernel/backend"
	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
	"knockkit/protocol"
	"knockkit/server"
)

// many returns n profiles that share nothing: pN is opened by N+10000 and N+20000, and
// opens N+1000.
func many(t *testing.T, n int) []*protocol.Profile {
	t.Helper()
	var all []*protocol.Profile
	for i := range n {
		all = append(all, parse(t, fmt.Sprintf("p%d", i), fmt.Sprintf("sequence = [\"%d/tcp\", \"%d/tcp\"]\nopen = [\"%d/tcp\"]", 10_000+i, 20_000+i, 1_000+i)))
	}
	return all
}

// texts are what an install would commit.
func (s *site) texts(profiles []*protocol.Profile) []backend.Text {
	s.t.Helper()
	var texts []backend.Text
	s.do(func() (err error) {
		texts, err = s.srv.Texts(s.t.Context(), profiles)
		return err
	})
	return texts
}

// TestTheTablesThatStrangersAskAreMadeFirstOverBothFamilies: the kernel finds a table by
// walking a list of all, in the order in which they were made.
func TestTheTablesThatStrangersAskAreMadeFirstOverBothFamilies(t *testing.T) {
	eachFlavour(t, func(t *testing.T) {
		s := newSite(t, "iptables", strict())
		if n := len(s.texts(many(t, 3))); n != 2 {
			t.Errorf("an install of three profiles takes %d transactions, not one for each family", n)
		}
		profiles := many(t, 30)
		var order []string
		for _, text := range s.texts(profiles) {
			for _, m := range regexp.MustCompile(`--name (\S+)`).FindAllStringSubmatch(text.Text, -1) {
				if !slices.Contains(order, m[1]) {
					order = append(order, m[1])
				}
			}
		}
		kinds := []*regexp.Regexp{regexp.MustCompile(`^(progress|holders\d)\.`), regexp.MustCompile(`^p\d+\.1\.`), regexp.MustCompile(`^(p\d+\.open|clock)\.`)}
		kind := func(table string) int {
			return slices.IndexFunc(kinds, func(re *regexp.Regexp) bool { return re.MatchString(table) })
		}
		// progress, 8 of holders, 30 positions, 30 leases and the clock, in each family
		if want := 2 * (1 + 8 + 30 + 30 + 1); len(order) != want {
			t.Errorf("%d tables, not %d: %q", len(order), want, order)
		}
		if !slices.IsSortedFunc(order, func(x, y string) int { return kind(x) - kind(y) }) {
			t.Errorf("the tables are made in the order %q", order)
		}

		before := s.saved()
		s.install(profiles...)
		s.listen(1029)
		for _, f := range protocol.Families() {
			one, other := forged(f, 1), forged(f, 2)
			s.send(one, tcp(10_029), tcp(20_029))
			s.expect("open", one, 1029)
			s.expect("silent", other, 1029)
		}
		s.do(func() error {
			_, err := s.srv.Remove(t.Context(), nil)
			return err
		})
		if after := s.saved(); withoutEmptyFilter(after) != withoutEmptyFilter(before) {
			t.Errorf("before:\n%s\nafter:\n%s", before, after)
		}
	})
}

// emptyFilter is what iptables-nft leaves of a table that it made.
var emptyFilter = regexp.MustCompile(`(?s)table ip6? filter \{\n(\tchain \w+ \{\n[^}]*policy accept;\n\t\}\n\n?)*\}\n|\*filter\n(:\w+ ACCEPT \n)*COMMIT\n`)

func withoutEmptyFilter(saved string) string { return emptyFilter.ReplaceAllString(saved, "") }

// TestAnInstallOfManyThatFailsLeavesNothing: the last of its transactions fails, which
// are more than one for each family.
func TestAnInstallOfManyThatFailsLeavesNothing(t *testing.T) {
	eachFlavour(t, func(t *testing.T) {
		s := newSite(t, "iptables", strict())
		real, err := lab.FindTool("ip6tables-restore")
		if err != nil {
			t.Fatal(err)
		}
		labtest.Need(t, "grep")
		dir := t.TempDir()
		script := fmt.Sprintf("#!/bin/sh\ncat > %[1]s/text\nif grep -q GATE %[1]s/text; then echo 'ip6tables-restore: line 3 failed' >&2; exit 1; fi\nexec %[2]s \"$@\" < %[1]s/text\n", dir, real)
		if err := os.WriteFile(filepath.Join(dir, "ip6tables-restore"), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
		path := os.Getenv("PATH")
		t.Setenv("PATH", dir+":"+path)
		err = s.host.Do(func() error {
			_, err := s.srv.Install(t.Context(), many(t, 30), server.InstallOptions{})
			return err
		})
		t.Setenv("PATH", path)
		if err == nil {
			t.Fatal("it was installed")
		}
		if after := s.saved(); strings.Contains(after, "KNOCKD") {
			t.Errorf("left:\n%s", after)
		}
	})
}
