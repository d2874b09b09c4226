package server_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"knockkit/internal/kernel/backend"
	"knockkit/internal/lab"
	"knockkit/protocol"
	"knockkit/server"
)

// TestWhenTheSecondFamilyFailsTheFirstIsPutBack lets ip6tables-restore itself
// fail, after iptables-restore has done its part.
func TestWhenTheSecondFamilyFailsTheFirstIsPutBack(t *testing.T) {
	eachFlavour(t, func(t *testing.T) {
		s := newSite(t, "iptables", strict())
		s.listen(3306)
		s.install(article(t, ""))
		holder, knocker := forged4(1), forged4(2)
		s.grant("mysql", holder, 0)
		s.send(knocker, ping, tcp(7))

		dir := t.TempDir()
		script := "#!/bin/sh\ncat > /dev/null\necho 'ip6tables-restore: line 3 failed' >&2\nexit 1\n"
		if err := os.WriteFile(filepath.Join(dir, "ip6tables-restore"), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
		path := os.Getenv("PATH")
		t.Setenv("PATH", dir+":"+path)
		err := s.refuse(parse(t, "web", "sequence = [\"icmp\", \"1001/tcp\"]\nopen = [\"80/tcp\"]"))
		t.Setenv("PATH", path)

		tool := new(backend.ToolError)
		if !errors.As(err, &tool) || tool.Tool != "ip6tables-restore" || tool.Output != "ip6tables-restore: line 3 failed" || tool.Line == "" {
			t.Errorf("got %v", err)
		}
		s.expect("open", holder, 3306)
		s.send(knocker, tcp(8000))
		s.expect("open", knocker, 3306)
	})
}

// TestAMissingToolIsSaidAndNothingIsChanged: a host with IPv6 and without ip6tables
// would have an open gate there.
func TestAMissingToolIsSaidAndNothingIsChanged(t *testing.T) {
	eachFlavour(t, func(t *testing.T) {
		s := newSite(t, "iptables", strict())
		before := s.saved()
		dir := t.TempDir()
		for _, tool := range []string{"iptables-save", "iptables-restore"} {
			path, err := lab.FindTool(tool)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(path, filepath.Join(dir, tool)); err != nil {
				t.Fatal(err)
			}
		}
		path := os.Getenv("PATH")
		t.Setenv("PATH", dir)
		err := s.host.Do(func() error {
			_, err := s.srv.Install(t.Context(), []*protocol.Profile{article(t, "")}, server.InstallOptions{})
			return err
		})
		t.Setenv("PATH", path)
		if !errors.Is(err, backend.ErrUnsupported) {
			t.Errorf("got %v", err)
		}
		if after := s.saved(); after != before {
			t.Errorf("before:\n%s\nafter:\n%s", before, after)
		}
	})
}

// TestAnInstallThatIsRefusedTakesNoLeaseAway: the kernel forgets a recency table with the
// last rule that names it. The tool may refuse a rule for the second family, or in the
// second table of the first.
func TestAnInstallThatIsRefusedTakesNoLeaseAway(t *testing.T) {
	for _, body := range []string{
		"ip6tables = [\"-m nosuchmatch -j LOG\"]", "place = \"prerouting\"\niptables = [\"-m nosuchmatch -j LOG\"]",
	} {
		place, opened, early := strings.Cut(body, "\n")
		if !early {
			place, opened = "", body
		}
		t.Run(body, func(t *testing.T) {
			eachFlavour(t, func(t *testing.T) {
				s := newSite(t, "iptables", strict())
				s.listen(80)
				web := parse(t, "web", "sequence = [\"icmp\", \"1001/tcp\"]\nopen = [\"80/tcp\"]")
				s.install(web, article(t, place))
				s.grant("web", forged4(1), 0)
				before := s.saved()
				err := s.host.Do(func() error {
					_, err := s.srv.Install(t.Context(), []*protocol.Profile{article(t, place+"\n[opened]\n"+opened)}, server.InstallOptions{Exactly: true})
					return err
				})
				if err == nil {
					t.Error("it was installed")
				}
				if after := s.saved(); sortedLines(after) != sortedLines(before) { // chains that were put back come last
					t.Errorf("before:\n%s\nafter:\n%s", before, after)
				}
				s.expect("open", forged4(1), 80)
			})
		})
	}
}
