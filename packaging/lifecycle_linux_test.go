package packaging

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"

	"knockkit/internal/kernel/iptables"
	"knockkit/internal/lab/labtest"
)

// manager brings packages to a machine, and takes ours away.
type manager struct {
	install func(release)
	upgrade func(release)
	remove  func()
}

// apt types what docs/packages.md says.
func apt(m *machine) manager {
	install := func(r release) { m.types("install", r) }
	return manager{install, install, func() { m.types("remove", release{}) }}
}

// sudo is how the page has it; nobody is there to answer a question.
var sudo = strings.NewReplacer("sudo apt ", "apt -y ", "sudo ", "")

// types runs a block of commands of docs/packages.md.
func (m *machine) types(block string, r release) {
	m.t.Helper()
	m.Inside("sh", "-euc", m.page(block, r))
}

// page returns a block of commands of docs/packages.md, by what stands behind "sh",
// with r in the place of what `make package` has built.
func (m *machine) page(block string, r release) string {
	m.t.Helper()
	found := regexp.MustCompile("(?s)\n```sh " + block + "\n(.*?)```\n").FindStringSubmatch(string(read(m.t, "../docs/packages.md")))
	if found == nil {
		m.t.Fatalf("docs/packages.md has no commands for %q", block)
	}
	text := sudo.Replace(found[1])
	if strings.Contains(text, "./dist/knockkit_*_amd64.deb") {
		text = strings.ReplaceAll(text, "./dist/knockkit_*_amd64.deb", m.takes(r.deb))
	}
	return text
}

// rpm works from outside of the machine, whose own scripts it runs inside. It knows
// of no other package there: so it is not asked what ours depends on.
func rpm(m *machine) manager {
	run := func(args ...string) {
		c := m.Mounted(append([]string{"rpm", "--force-debian", "--root", m.Tree, "--nodeps"}, args...)...)
		labtest.MustRun(m.t, m.Host, "", c[0], c[1:]...)
	}
	return manager{
		install: func(r release) { run("-i", r.rpm) },
		upgrade: func(r release) { run("-U", r.rpm) },
		remove:  func() { run("-e", "knockkit") },
	}
}

// live installs the old release, uses it, upgrades to the new one while a lease is
// alive and the service runs, and removes it.
func live(m *machine, by manager, b built) {
	before := m.rules()
	labtest.Listen(m.t, m.Host, "tcp", "[::]:3306")

	by.install(b.old)
	m.says("knockd", b.old)
	m.says("knock", b.old)
	m.unchanged(before, "the installation")
	const modprobe = "/usr/lib/modprobe.d/00-knockkit.conf"
	m.Inside("grep", "-qx", fmt.Sprintf("options xt_recent ip_list_tot=%d", iptables.TableSize), modprobe)
	if conffiles := m.Inside("dpkg-query", "--show", "--showformat", "${Conffiles}\n"); strings.Contains(conffiles, modprobe) {
		m.t.Errorf("%s is a conffile: an operator's edit of it would be asked about, where a file in /etc wins", modprobe)
	}
	if _, err := os.Lstat(m.Tree + "/etc/systemd/system/sysinit.target.wants/knockd.service"); err == nil {
		m.t.Error("the installation has enabled the service")
	}
	m.Inside("knockd", "demo")

	m.Inside("knockd", "profile", "new", "mysql")
	m.Inside("knockd", "install", "mysql")
	service := m.serve()
	knock := m.Command("knock", "--config", "/etc/knockd", "mysql@"+m.Host.Addr4.String())
	labtest.MustRun(m.t, m.laptop, "", knock[0], knock[1:]...)
	m.openForTheLaptopOnly("after the knock")
	installed := m.rules()

	by.upgrade(b.new)
	m.says("knockd", b.new)
	m.Inside("test", "-s", modprobe)
	m.unchanged(installed, "the upgrade")
	m.openForTheLaptopOnly("after the upgrade")
	service.stop() // with systemd, the upgrade does this
	m.unchanged(installed, "the end of the old service")
	service = m.serve()
	m.unchanged(installed, "the start of the new service")
	m.openForTheLaptopOnly("with the new service")

	service.stop()
	// A mistake in there must not keep the rules in place.
	if err := os.WriteFile(m.Tree+"/etc/knockd/knockd.toml", []byte("backend = \n"), 0o600); err != nil {
		m.t.Fatal(err)
	}
	by.remove()
	m.unchanged(before, "the removal")
	if !m.reaches(m.stranger) {
		m.t.Error("after the removal a stranger does not get to MySQL, as before")
	}
	if out := m.Try("knockd", "--version"); out.Code == 0 {
		m.t.Error("after the removal there is still a knockd")
	}
	m.Inside("test", "!", "-e", modprobe)
	m.Inside("test", "-s", "/etc/knockd/profiles/mysql.toml")
}

func (m *machine) says(program string, r release) {
	m.t.Helper()
	if got, want := m.Inside(program, "--version"), program+" "+r.version+"\n"; got != want {
		m.t.Errorf("it is %q, want %q", got, want)
	}
}

func (m *machine) unchanged(want, by string) {
	m.t.Helper()
	if got := m.rules(); got != want {
		m.t.Errorf("%s has made of the rules\n%s\nthese\n%s", by, want, got)
	}
}

func (m *machine) openForTheLaptopOnly(when string) {
	m.t.Helper()
	if !m.reaches(m.laptop) {
		m.t.Errorf("%s the laptop, which has a lease, does not get in", when)
	}
	if m.reaches(m.stranger) {
		m.t.Errorf("%s a stranger gets in", when)
	}
}

// running is a `knockd run` on a machine.
type running struct {
	m    *machine
	cmd  *exec.Cmd
	wait func() error
}

// serve starts the service, and waits until it has installed the profiles.
func (m *machine) serve() *running {
	m.t.Helper()
	c := m.Command("knockd", "run")
	s := &running{m: m, cmd: exec.Command(c[0], c[1:]...)}
	log := &buffer{}
	s.cmd.Stderr = log
	s.wait = labtest.Start(m.t, m.Host, s.cmd)
	labtest.Eventually(m.t, 10*time.Second, func() error {
		if said := log.String(); !strings.Contains(said, "msg=installed") {
			return fmt.Errorf("the service has said\n%s", said)
		}
		return nil
	})
	return s
}

// stop ends the service as systemd does.
func (s *running) stop() {
	s.m.t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		s.m.t.Fatal(err)
	}
	if err := s.wait(); err != nil {
		s.m.t.Errorf("the service ends with %v", err)
	}
}

// buffer may be read while it is written to.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// classicIsNotTakenAway finds Debian's own knockd on the machine, which may be
// somebody's only way in: dpkg does not remove it, and apt asks.
func classicIsNotTakenAway(m *machine, deb string) {
	for _, c := range []struct {
		by   []string
		says string
	}{
		{[]string{"dpkg", "-i"}, "conflicts with knockd"},
		{[]string{"apt-get", "install"}, "The following packages will be REMOVED:\n  knockd\n"},
	} {
		if out := m.Try(append(c.by, m.takes(deb))...); out.Code == 0 || !strings.Contains(out.Stdout+out.Stderr, c.says) {
			m.t.Errorf("beside Debian's knockd %v ends with %d\n%s%s", c.by, out.Code, out.Stdout, out.Stderr)
		}
		if out := m.Try("dpkg-query", "--show", "--showformat", "${db:Status-Status}", "knockd"); out.Stdout != "installed" {
			m.t.Errorf("after %v Debian's knockd is %q", c.by, out.Stdout)
		}
	}
	m.Inside("dpkg", "--purge", "knockd")
}

// goesWithoutPrivilege removes the package where its rules cannot be: without the
// capabilities for it, as in a container.
func goesWithoutPrivilege(m *machine, deb string) {
	m.Inside("dpkg", "--purge", "knockd")
	m.Inside("dpkg", "-i", m.takes(deb))
	m.Inside("knockd", "profile", "new", "mysql")
	m.Inside("knockd", "install", "mysql")
	out := m.Try("setpriv", "--bounding-set=-net_admin,-net_raw", "dpkg", "--purge", "knockkit")
	if out.Code != 0 || !strings.Contains(out.Stderr, "rules of knockd may be left") {
		m.t.Errorf("dpkg ends with %d\n%s%s", out.Code, out.Stdout, out.Stderr)
	}
}
