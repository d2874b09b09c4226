package docs

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
)

// soon is how long a condition may take; repair is how soon the service puts rules
// right.
const (
	soon   = 20 * time.Second
	repair = 5 * time.Second
)

// setup is a backend of ours, and the flavour of the host's iptables.
type setup struct{ name, backend, flavour string }

func setups() []setup {
	return []setup{
		{"iptables-nft", "iptables", "nft"},
		{"iptables-legacy", "iptables", "legacy"},
		{"nftables", "nftables", "nft"},
	}
}

// machine is a host with files of its own in /etc, /run, /var/log and
// /var/lib/fail2ban: tools read and write there as always, and the machine that runs
// the tests sees nothing of it.
type machine struct {
	setup
	t     *testing.T
	host  *lab.Host
	root  string // holds those folders
	wire  *lab.Wire
	port  uint16 // the last source port
	guest int    // the last source that had not been here before
	early int    // a source that knocked at the beginning
	rows  []string

	service *daemon
}

// each runs a test on a machine for each backend, side by side: most of the time
// they wait for tools.
func each(t *testing.T, tools []string, f func(t *testing.T, m *machine)) {
	labtest.NeedRoot(t)
	labtest.Need(t, append(tools, "iptables-nft-restore", "iptables-legacy-restore", "nft", "unshare")...)
	for _, s := range setups() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			f(t, newMachine(t, s))
		})
	}
}

const profile = "sequence = [\"icmp\", \"7/tcp\", \"8000/tcp\"]\nopen = [\"3306/tcp\"]\n"

func newMachine(t *testing.T, s setup) *machine {
	t.Helper()
	m := &machine{setup: s, t: t, host: labtest.NewHost(t, "server"), root: t.TempDir(), port: 20000, guest: 1000}
	m.wire = labtest.Wire(t, m.host)
	for _, port := range []string{"3306", "8080"} {
		labtest.Listen(t, m.host, "tcp", "[::]:"+port)
	}
	program, err := knockd()
	if err != nil {
		t.Fatal(err)
	}
	labtest.MustRun(t, m.host, "", "cp", "-a", "/etc", filepath.Join(m.root, "etc"))
	for _, dir := range []string{"run/fail2ban", "run/dbus", "log", "lib", "bin"} {
		if err := os.MkdirAll(filepath.Join(m.root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	m.link(program, "bin/knockd")
	m.write("/bin/sudo", "#!/bin/sh\nexec \"$@\"\n")
	for _, tool := range []string{"iptables", "ip6tables"} {
		for _, suffix := range []string{"", "-restore", "-save"} {
			m.link("/usr/sbin/"+tool+"-"+s.flavour+suffix, "etc/alternatives/"+tool+suffix)
		}
	}
	m.write("/etc/knockd/knockd.toml", fmt.Sprintf("backend = %q\n", s.backend))
	if s.backend == "nftables" {
		m.has("toml", "/etc/knockd/knockd.toml")
	}
	m.write("/etc/knockd/profiles/mysql.toml", profile)
	return m
}

func (m *machine) link(to, from string) {
	m.t.Helper()
	from = filepath.Join(m.root, from)
	_ = os.Remove(from) // it need not be there
	if err := os.Symlink(to, from); err != nil {
		m.t.Fatal(err)
	}
}

// write writes a file of the machine.
func (m *machine) write(file, text string) {
	m.t.Helper()
	file = filepath.Join(m.root, file)
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(text), 0o755)); err != nil {
		m.t.Fatal(err)
	}
}

// inside enters the machine's files. It becomes the command: what is started this
// way ends when its process is killed.
const inside = `for dir in etc run; do mount --bind "$0/$dir" "/$dir"; done
mount --bind "$0/log" /var/log
test ! -d /var/lib/fail2ban || mount --bind "$0/lib" /var/lib/fail2ban
PATH="$0/bin:$PATH"
exec "$@"`

func (m *machine) words(command ...string) []string {
	return append([]string{"unshare", "--mount", "--propagation", "private", "sh", "-euc", inside, m.root}, command...)
}

// try runs a command to its end.
func (m *machine) try(command ...string) lab.Output {
	m.t.Helper()
	words := m.words(command...)
	return labtest.Run(m.t, m.host, "", words[0], words[1:]...)
}

// sh types lines, and fails unless all of them end well.
func (m *machine) sh(lines string) string {
	m.t.Helper()
	out := m.try("sh", "-euc", lines)
	if out.Code != 0 {
		m.t.Fatalf("these lines end with %d:\n%s\n%s%s", out.Code, lines, out.Stdout, out.Stderr)
	}
	return out.Stdout + out.Stderr
}

// daemon is a program that runs on the machine.
type daemon struct {
	cmd  *exec.Cmd
	log  string // its file
	wait func() error
}

// start starts a program that ends with the test, and keeps what it says.
func (m *machine) start(command ...string) *daemon {
	m.t.Helper()
	words := m.words(command...)
	file, err := os.CreateTemp(m.root, filepath.Base(command[0])+"-*.said")
	if err != nil {
		m.t.Fatal(err)
	}
	defer file.Close()
	d := &daemon{cmd: exec.Command(words[0], words[1:]...), log: file.Name()}
	d.cmd.Stdout, d.cmd.Stderr = file, file
	d.wait = labtest.Start(m.t, m.host, d.cmd)
	m.t.Cleanup(func() {
		if said, err := os.ReadFile(d.log); m.t.Failed() {
			m.t.Logf("%s said (%v)\n%s", command[0], err, said)
		}
	})
	return d
}

// stop ends a program as an init system does.
func (m *machine) stop(d *daemon) {
	m.t.Helper()
	if err := d.cmd.Process.Signal(os.Interrupt); err != nil {
		m.t.Fatal(err)
	}
	_ = d.wait() // some say 1, some say 0
}

// eventually waits until f is true.
func (m *machine) eventually(what string, within time.Duration, f func() bool) {
	m.t.Helper()
	labtest.Eventually(m.t, within, func() error {
		if f() {
			return nil
		}
		return fmt.Errorf("not yet: %s", what)
	})
}

// says returns how often a daemon has said a text.
func (d *daemon) says(text string) int {
	said, err := os.ReadFile(d.log)
	if err != nil {
		return 0
	}
	return strings.Count(string(said), text)
}

// serve starts the service.
func (m *machine) serve() {
	m.t.Helper()
	m.service = m.start("knockd", "run")
	m.eventually("the service has installed", soon, func() bool {
		return m.service.says("msg=installed") > 0 && m.service.says("role=") > 0
	})
}

// right reports whether our rules are there, and as they were committed, whatever the
// rules of others make of them.
func (m *machine) right() bool {
	m.t.Helper()
	out := m.try("knockd", "status")
	installed := strings.Contains(out.Stdout, "mysql    installed ") || strings.Contains(out.Stdout, "mysql    not in force ")
	return out.Code == 0 && installed && !strings.Contains(out.Stdout, "drift: ")
}

// repairs is what the service says at each.
const repairs = "the rules had been changed"

// repaired waits for the service, if there is anything to repair.
func (m *machine) repaired() {
	m.t.Helper()
	m.eventually("the rules are right again", repair, func() bool {
		before := m.service.says(repairs)
		if m.right() {
			return true
		}
		m.eventually("the service repairs", repair, func() bool { return m.service.says(repairs) > before })
		return false
	})
}
