package docs

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
	"knockkit/server"
)

// Debian's programs, by their full names: ours are called the same.
const (
	classicKnock  = "/usr/bin/knock"
	classicKnockd = "/usr/sbin/knockd"
)

// TestTheStepsOfMovingInLeadFromOneDaemonToTheOtherAndBack runs every sh block of the
// page, in order, beside the classic daemon, which has the page's own knockd.conf.
func TestTheStepsOfMovingInLeadFromOneDaemonToTheOtherAndBack(t *testing.T) {
	t.Parallel()
	labtest.NeedRoot(t)
	labtest.Need(t, "iptables", "make", "bash", classicKnock, classicKnockd)
	m := &mover{reader: newReader(t)}
	m.greet()
	labtest.MustRun(t, m.server, "", "iptables", "-A", "INPUT", "-m", "conntrack", "--ctstate", "ESTABLISHED,RELATED", "-j", "ACCEPT")
	labtest.MustRun(t, m.server, "", "iptables", "-A", "INPUT", "-p", "tcp", "--dport", "3306", "-j", "DROP")
	places := map[string]*lab.Host{"here": m.laptop, "server": m.server, "laptop": m.laptop, "undo": m.server}
	run := map[string]int{}
	for _, b := range blocks(t, "docs/moving-in.md", "sh", "ini", "toml") {
		switch b.Language {
		case "ini":
			m.file(b.About, b.Text)
			continue
		case "toml":
			if _, diagnostics := server.ParseSettings("knockd.toml", []byte(b.Text)); len(diagnostics) > 0 {
				t.Error(diagnostics)
			}
			continue
		}
		about, text := b.About, b.Text
		b.Text = strings.NewReplacer("/etc/csf", filepath.Join(m.dir, "etc/csf"), "/etc/config", filepath.Join(m.dir, "etc/config")).Replace(text)
		said := m.reader.run(places[about], b)
		run[about]++
		m.after(about, text, said)
	}
	if run["here"] != 1 || run["server"] < 7 || run["laptop"] != 1 || run["undo"] != 1 {
		t.Errorf("some blocks are lost: %v", run)
	}
}

// mover is a reader who has the classic daemon.
type mover struct {
	*reader
	config  string // the classic daemon's
	knocked bool
}

// file writes a configuration of the page. That of the classic daemon starts it.
func (m *mover) file(name, text string) {
	m.t.Helper()
	file := filepath.Join(m.dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(text), 0o600)); err != nil {
		m.t.Fatal(err)
	}
	if name == "/etc/knockd.conf" {
		m.config = file
		m.t.Cleanup(m.stop)
		m.start()
	}
}

// start and stop are what the page asks of systemctl, for which there is a stub.
func (m *mover) start() {
	m.t.Helper()
	stub := filepath.Join(m.dir, "stubs/systemctl")
	if err := os.WriteFile(stub, []byte("#!/bin/sh\n"), 0o755); err != nil {
		m.t.Fatal(err)
	}
	labtest.MustRun(m.t, m.server, "", classicKnockd, "-d", "-i", "eth0", "-c", m.config, "-p", filepath.Join(m.dir, "pid"))
	m.classic(true)
	m.knockAsEver()
}

// stop ends the classic daemon as systemd does: with the processes that wait for the
// time of a stop command, each in a session of its own.
func (m *mover) stop() {
	processes, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		m.t.Fatal(err)
	}
	for _, file := range processes {
		words, _ := os.ReadFile(file) // it may have ended
		if !strings.HasPrefix(string(words), classicKnockd+"\x00") || !strings.Contains(string(words), "\x00"+m.config+"\x00") {
			continue
		}
		id, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err := errors.Join(err, syscall.Kill(id, syscall.SIGKILL)); err != nil {
			m.t.Log(err)
		}
	}
}

// classic waits until the classic daemon listens, or is gone: it has a packet socket.
func (m *mover) classic(listens bool) {
	m.t.Helper()
	labtest.Eventually(m.t, 10*time.Second, func() error {
		sockets := labtest.MustRun(m.t, m.server, "", "cat", "/proc/thread-self/net/packet")
		if (strings.Count(sockets, "\n") > 1) != listens {
			return errors.New("the classic daemon listens: " + sockets)
		}
		return nil
	})
}

// knockAsEver knocks with the classic client, waits until the classic daemon has let
// the laptop in, and takes its rule away again.
func (m *mover) knockAsEver() {
	m.t.Helper()
	if m.reaches() {
		m.t.Fatal("MySQL answers before anybody has knocked")
	}
	labtest.MustRun(m.t, m.laptop, "", classicKnock, "-d", "5", m.server.Addr4.String(), "46123", "2104", "31007")
	m.takeRule()
	if m.reaches() {
		m.t.Fatal("MySQL answers without a rule")
	}
}

// takeRule waits for the rule that the classic daemon adds, and takes it away.
func (m *mover) takeRule() {
	m.t.Helper()
	labtest.Eventually(m.t, 10*time.Second, func() error {
		out := labtest.Run(m.t, m.server, "", "iptables", "-w", "-D", "INPUT", "-s", m.laptop.Addr4.String(), "-p", "tcp", "--dport", "3306", "-j", "ACCEPT")
		if out.Code != 0 {
			return errors.New("the classic daemon has not added its rule: " + out.Stderr)
		}
		return nil
	})
}

// after checks where the reader is after a block.
func (m *mover) after(about, text, said string) {
	m.t.Helper()
	rules := labtest.MustRun(m.t, m.server, "", "iptables", "-S")
	switch {
	case about == "laptop":
		m.knocked = true
		if !strings.Contains(said, greeting) {
			m.t.Errorf("the knock did not open MySQL:\n%s", said)
		}
		m.takeRule() // both daemons saw the knock
	case strings.Contains(text, "disable"):
		m.stop()
		m.classic(false)
	case about == "undo":
		m.knocked = false
		if strings.Contains(rules, "KNOCKD") {
			m.t.Errorf("at the end the server has still these rules:\n%s", rules)
		}
		m.start()
	case strings.Contains(text, "--dry-run"):
		if strings.Contains(rules, "KNOCKD") || !strings.Contains(said, "sequence = [") {
			m.t.Errorf("a dry run says\n%s\nand there are these rules:\n%s", said, rules)
		}
	case strings.Contains(text, "status"):
		if !strings.Contains(said, m.laptop.Addr4.String()) {
			m.t.Errorf("status does not name the laptop:\n%s", said)
		}
	}
	if got := m.reaches(); got != m.knocked {
		m.t.Errorf("after these commands on %q MySQL answers the laptop: %v, want %v\n%s\n%s", about, got, m.knocked, text, said)
	}
}
