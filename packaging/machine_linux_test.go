package packaging

import (
	"context"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
)

// machine is a Debian of its own: files of its own, and a network of its own, on
// which there are two other hosts. Its kernel and its processes are this machine's.
type machine struct {
	t                      *testing.T
	tree                   string
	host, laptop, stranger *lab.Host
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	needDebian(t)
	m := &machine{
		t: t, tree: t.TempDir(),
		host: labtest.NewHost(t, "debian"), laptop: labtest.NewHost(t, "laptop"), stranger: labtest.NewHost(t, "stranger"),
	}
	labtest.Network(t, m.host, m.laptop, m.stranger)
	if out, err := exec.CommandContext(t.Context(), "tar", "-C", m.tree, "-xf", debian).CombinedOutput(); err != nil {
		t.Fatalf("tar: %v\n%s", err, out)
	}
	// The host has rules of its own, which are to stay as they are.
	for _, tool := range []string{"iptables", "ip6tables"} {
		m.inside(tool, "-A", "INPUT", "-p", "tcp", "--dport", "25", "-j", "DROP")
	}
	return m
}

// enter runs a command with the machine's file systems mounted below its folder.
const enter = `set -e
tree=$1
shift
mount -t proc proc "$tree/proc"
mount -t sysfs sysfs "$tree/sys"
mount --rbind /dev "$tree/dev"
exec "$@"`

// command returns what runs args inside of the machine's files.
func (m *machine) command(args ...string) []string {
	return m.mounted(append([]string{
		"chroot", m.tree, "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive",
	}, args...)...)
}

// mounted returns what runs args beside the machine's files, so that args may enter.
func (m *machine) mounted(args ...string) []string {
	return append([]string{"unshare", "--mount", "sh", "-c", enter, "sh", m.tree}, args...)
}

// try runs a command on the machine.
func (m *machine) try(args ...string) lab.Output {
	m.t.Helper()
	c := m.command(args...)
	return labtest.Run(m.t, m.host, "", c[0], c[1:]...)
}

// inside runs a command on the machine that has to succeed.
func (m *machine) inside(args ...string) string {
	m.t.Helper()
	out := m.try(args...)
	if out.Code != 0 {
		m.t.Fatalf("%v: exit status %d\n%s%s", args, out.Code, out.Stdout, out.Stderr)
	}
	return out.Stdout
}

// counts are numbers that packets change.
var counts = regexp.MustCompile(`(?m)\[\d+:\d+\]|^#.*\n`)

// rules returns all rules of the machine, and the names of nftables' tables.
func (m *machine) rules() string {
	m.t.Helper()
	return counts.ReplaceAllString(m.inside("sh", "-c", "iptables-save && ip6tables-save && nft list tables"), "")
}

// reaches reports whether a host gets to MySQL. A port that is shut is silent.
func (m *machine) reaches(from *lab.Host) bool {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), 700*time.Millisecond)
	defer cancel()
	c, err := from.Dial(ctx, "tcp", netip.AddrPortFrom(m.host.Addr4, 3306).String())
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
	if err := os.WriteFile(m.tree+path, data, 0o644); err != nil {
		m.t.Fatal(err)
	}
	return path
}

// files returns the paths of all files, except where the package managers and
// programs that are not ours keep what they know.
func (m *machine) files() map[string]bool {
	m.t.Helper()
	all := map[string]bool{}
	err := filepath.WalkDir(m.tree, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		path = strings.TrimPrefix(path, m.tree)
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
