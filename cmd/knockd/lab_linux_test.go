package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"knockkit/internal/kernel/iptables"
	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
)

// soon is how long a condition may take that needs no waiting.
const soon = 30 * time.Second

// site is a host on which the real program runs, with a configuration folder.
type site struct {
	t      *testing.T
	host   *lab.Host
	config string
	env    []string // of what runs on it, beside the test's own: PATH=…
}

// eachFlavour runs a test on iptables-nft and iptables-legacy.
func eachFlavour(t *testing.T, f func(t *testing.T, s *site)) {
	labtest.NeedRoot(t)
	labtest.Need(t, "iptables-nft-restore", "iptables-legacy-restore")
	program(t) // builds it, while PATH is as it was
	for _, flavour := range lab.Flavours() {
		t.Run(flavour.Name, func(t *testing.T) {
			t.Setenv("PATH", labtest.PathOf(t, flavour)+":"+os.Getenv("PATH"))
			f(t, newSite(t))
		})
	}
}

// atOnce runs a test with iptables-nft, iptables-legacy and nftables, side by side: most
// of the time they wait for tools.
func atOnce(t *testing.T, f func(t *testing.T, s *site)) {
	labtest.NeedRoot(t)
	labtest.NeedTUN(t)
	labtest.Need(t, "iptables-nft-restore", "iptables-legacy-restore", "nft")
	program(t)
	run := func(name, backend string, flavour lab.Flavour) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.env = []string{"PATH=" + labtest.PathOf(t, flavour) + ":" + os.Getenv("PATH")}
			s.settings(fmt.Sprintf("backend = %q\n", backend))
			f(t, s)
		})
	}
	for _, flavour := range lab.Flavours() {
		run(flavour.Name, "iptables", flavour)
	}
	run("nftables", "nftables", lab.Flavours()[0])
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, host: labtest.NewHost(t, "server"), config: t.TempDir()}
	s.settings("backend = \"iptables\"\n")
	return s
}

func (s *site) settings(text string) {
	s.t.Helper()
	s.write(filepath.Join(s.config, "knockd.toml"), text)
}

// profile writes a profile into the configuration folder.
func (s *site) profile(name, text string) {
	s.t.Helper()
	s.write(filepath.Join(s.config, "profiles", name+".toml"), text)
}

func (s *site) write(file, text string) {
	s.t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(text), 0o644)); err != nil {
		s.t.Fatal(err)
	}
}

// command is the program with the site's configuration.
func (s *site) command(args ...string) *exec.Cmd {
	cmd := exec.Command(program(s.t), append([]string{"--config", s.config}, args...)...)
	cmd.Env = append(os.Environ(), s.env...)
	return cmd
}

// knockd runs the program to its end. It leaves out what the program says of the kernel's
// tables.
func (s *site) knockd(args ...string) lab.Output {
	s.t.Helper()
	out := s.wholly(args...)
	out.Stderr = withoutTables(out.Stderr)
	return out
}

// withoutTables leaves out the words about the size of the kernel's tables: they depend on
// the machine, and have tests of their own.
func withoutTables(words string) string { return tableWords.ReplaceAllString(words, "") }

var tableWords = regexp.MustCompile(`(?m)^knockd: warning: xt_recent remembers \d+ addresses a table: .*\n`)

// wholly runs the program to its end, and returns all that it says.
func (s *site) wholly(args ...string) lab.Output {
	s.t.Helper()
	return s.try("", program(s.t), append([]string{"--config", s.config}, args...)...)
}

// try runs any program on the site to its end.
func (s *site) try(stdin, name string, args ...string) lab.Output {
	s.t.Helper()
	return labtest.Run(s.t, s.host, stdin, "env", append(append(slices.Clone(s.env), name), args...)...)
}

// tool is try that fails unless the program ends well.
func (s *site) tool(stdin, name string, args ...string) string {
	s.t.Helper()
	out := s.try(stdin, name, args...)
	if out.Code != 0 {
		s.t.Fatalf("%s %q: exit %d\n%s%s", name, args, out.Code, out.Stdout, out.Stderr)
	}
	return out.Stdout
}

// must fails unless the program ends well.
func (s *site) must(args ...string) lab.Output {
	s.t.Helper()
	out := s.knockd(args...)
	if out.Code != 0 {
		s.t.Fatalf("knockd %s: exit %d\n%s%s", strings.Join(args, " "), out.Code, out.Stdout, out.Stderr)
	}
	return out
}

// says fails unless the program ends with the code, says exactly that on standard
// error, and nothing on standard output.
func (s *site) says(code int, words string, args ...string) {
	s.t.Helper()
	out := s.knockd(args...)
	if out.Code != code || out.Stderr != words || out.Stdout != "" {
		s.t.Errorf("knockd %s: exit %d, want %d; standard output %q, want none; it says\n%swant\n%s",
			strings.Join(args, " "), out.Code, code, out.Stdout, out.Stderr, words)
	}
}

// rules returns what one tool saves, without counters and times.
func (s *site) rules(tool string) string {
	s.t.Helper()
	var lines []string
	for _, line := range strings.Split(s.tool("", tool+"-save"), "\n") {
		if strings.HasPrefix(line, ":") {
			line, _, _ = strings.Cut(line, " [")
		}
		if !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}

// table returns the addresses in a recency table of the host.
func (s *site) table(name string) []netip.Addr {
	s.t.Helper()
	var addrs []netip.Addr
	if err := s.host.Do(func() error {
		text, err := os.ReadFile("/proc/thread-self/net/xt_recent/" + name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		entries, err := iptables.ParseRecent(string(text))
		for _, e := range entries {
			addrs = append(addrs, e.Addr)
		}
		return err
	}); err != nil {
		s.t.Fatal(err)
	}
	return addrs
}

// note puts an address into a recency table, as a knock would.
func (s *site) note(table, addr string) {
	s.t.Helper()
	if err := s.host.Do(func() error {
		return os.WriteFile("/proc/thread-self/net/xt_recent/"+table, []byte("+"+addr+"\n"), 0)
	}); err != nil {
		s.t.Fatal(err)
	}
}

// noOrphans waits until no process is left on the host.
func (s *site) noOrphans() {
	s.t.Helper()
	var space string
	if err := s.host.Do(func() (err error) {
		space, err = os.Readlink("/proc/thread-self/ns/net")
		return err
	}); err != nil {
		s.t.Fatal(err)
	}
	labtest.Eventually(s.t, soon, func() error {
		links, err := filepath.Glob("/proc/[0-9]*/ns/net")
		if err != nil {
			return err
		}
		for _, link := range links {
			if of, err := os.Readlink(link); err == nil && of == space {
				comm, _ := os.ReadFile(filepath.Join(filepath.Dir(filepath.Dir(link)), "comm"))
				return fmt.Errorf("%s is left: %s", filepath.Dir(filepath.Dir(link)), comm)
			}
		}
		return nil
	})
}

// The profiles of these tests.
const (
	mysql = "sequence = [\"7421/tcp\", \"3190/udp\", \"9002/tcp\"]\nopen = [\"3306/tcp\"]\n"
	web   = "sequence = [\"7422/tcp\", \"3190/udp\", \"9003/tcp\"]\nopen = [\"80/tcp\"]\n"
)
