package packaging

import (
	"context"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
)

// debian is the system that the Makefile makes for these tests.
const debian = "../bin/debian.tar"

// machine is a Debian of its own, on a network with two other hosts.
type machine struct {
	*labtest.Debian
	t                *testing.T
	laptop, stranger *lab.Host
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	labtest.Need(t, "rpm")
	host := labtest.NewHost(t, "debian")
	m := &machine{labtest.NewDebian(t, debian, host), t, labtest.NewHost(t, "laptop"), labtest.NewHost(t, "stranger")}
	labtest.Network(t, m.Host, m.laptop, m.stranger)
	// The host has rules of its own, which are to stay as they are.
	for _, tool := range []string{"iptables", "ip6tables"} {
		m.Inside(tool, "-A", "INPUT", "-p", "tcp", "--dport", "25", "-j", "DROP")
	}
	return m
}

// counts are numbers that packets change.
var counts = regexp.MustCompile(`(?m)\[\d+:\d+\]|^#.*\n`)

// rules returns all rules of the machine, and the names of nftables' tables.
func (m *machine) rules() string {
	m.t.Helper()
	return counts.ReplaceAllString(m.Inside("sh", "-c", "iptables-save && ip6tables-save && nft list tables"), "")
}

// reaches reports whether a host gets to MySQL. A port that is shut is silent.
func (m *machine) reaches(from *lab.Host) bool {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), 700*time.Millisecond)
	defer cancel()
	c, err := from.Dial(ctx, "tcp", netip.AddrPortFrom(m.Host.Addr4, 3306).String())
	if err != nil {
		return false
	}
	c.Close()
	return true
}

// takes copies a file to the machine and returns its path there.
func (m *machine) takes(file string) string {
	m.t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		m.t.Fatal(err)
	}
	path := "/root/" + filepath.Base(file)
	if err := os.WriteFile(m.Tree+path, data, 0o644); err != nil {
		m.t.Fatal(err)
	}
	return path
}

// files returns the paths of all files, except where the package managers and
// programs that are not ours keep what they know.
func (m *machine) files() map[string]bool {
	m.t.Helper()
	all := map[string]bool{}
	err := filepath.WalkDir(m.Tree, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		path = strings.TrimPrefix(path, m.Tree)
		for _, other := range []string{"/var/lib/dpkg", "/var/lib/apt", "/var/log", "/var/cache", "/root", "/run"} {
			if path == other {
				return fs.SkipDir
			}
		}
		all[path] = true
		return nil
	})
	if err != nil {
		m.t.Fatal(err)
	}
	return all
}

// leftBehind fails the test for every file that was not there before.
func (m *machine) leftBehind(before map[string]bool) {
	m.t.Helper()
	for path := range m.files() {
		if !before[path] {
			m.t.Errorf("%s is left behind", path)
		}
	}
}
