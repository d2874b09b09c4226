package main

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"

	"knockkit/internal/lab/labtest"
)

// trial is an `install --try` that has changed the rules and waits for an answer.
type trial struct {
	site    *site
	cmd     *exec.Cmd
	answer  io.WriteCloser // its standard input, or its terminal
	said    *safeBuffer
	wait    func() error
	before  [2]string // the rules of both families
	started time.Time
}

// newTrial installs web beside mysql, of which one source holds a lease and one is
// in a position, and waits until the new rules are there. With a terminal the
// program is the leader of its session.
func newTrial(t *testing.T, s *site, patience string, terminal bool) *trial {
	t.Helper()
	s.t = t
	s.profile("mysql", mysql)
	s.profile("web", web)
	s.must("install", "mysql")
	s.must("grant", "mysql", "10.9.0.1")
	s.note("mysql.1.KNOCKD4", "10.9.0.2")
	s.note("progress.KNOCKD4", "10.9.0.2")
	tr := &trial{site: s, cmd: s.command("install", "web", "--try", patience), said: &safeBuffer{}, before: s.both(), started: time.Now()}
	tr.cmd.Env = append(tr.cmd.Env, "SSH_CONNECTION=")
	if terminal {
		tr.onTerminal(t)
	} else {
		var err error
		if tr.answer, err = tr.cmd.StdinPipe(); err != nil {
			t.Fatal(err)
		}
		tr.cmd.Stderr = tr.said
		tr.wait = labtest.Start(t, s.host, tr.cmd)
	}
	labtest.Eventually(t, soon, func() error {
		if !strings.Contains(tr.said.String(), "the old rules come back in "+patience+" unless you write y or yes") {
			return fmt.Errorf("it says %q", tr.said.String())
		}
		return nil
	})
	if s.both() == tr.before {
		t.Fatal("nothing was installed")
	}
	return tr
}

func (tr *trial) onTerminal(t *testing.T) {
	t.Helper()
	var terminal *os.File
	if err := tr.site.host.Do(func() (err error) {
		terminal, err = pty.Start(tr.cmd)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	tr.answer = terminal
	// Nobody may be reading when the test closes the terminal: it would stay open.
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		for buf := make([]byte, 512); !strings.Contains(tr.said.String(), "unless you write y or yes\r\n"); {
			n, err := terminal.Read(buf)
			_, _ = tr.said.Write(buf[:n])
			if err != nil {
				return
			}
		}
	}()
	ended := make(chan error, 1)
	go func() { ended <- tr.cmd.Wait() }()
	tr.wait = func() error { return <-ended }
	t.Cleanup(func() {
		_ = tr.cmd.Process.Kill() // fails if it has ended
		_ = terminal.Close()
	})
	<-asked
}

// interrupt presses Ctrl-C, and hears the program out.
func (tr *trial) interrupt() error {
	terminal := tr.answer.(*os.File)
	if _, err := terminal.Write([]byte{3}); err != nil {
		return err
	}
	_, _ = io.Copy(tr.said, terminal) // ends with an error, once nobody has the other side open
	return nil
}

// both returns the rules of both families.
func (s *site) both() [2]string { return [2]string{s.rules("iptables"), s.rules("ip6tables")} }

// isUndone waits until all is as it was before, byte for byte.
func (tr *trial) isUndone() {
	s := tr.site
	s.t.Helper()
	labtest.Eventually(s.t, soon, func() error {
		if now := s.both(); now != tr.before {
			return errors.New("the rules are\n" + now[0] + now[1])
		}
		return nil
	})
	s.noOrphans()
	if s.both() != tr.before {
		s.t.Error("and then they changed again")
	}
	tr.leasesAreThere()
	s.must("install", "mysql") // the lock is free
}

func (tr *trial) leasesAreThere() {
	s := tr.site
	s.t.Helper()
	for table, addr := range map[string]string{"mysql.open.KNOCKD4": "10.9.0.1", "mysql.1.KNOCKD4": "10.9.0.2"} {
		if got := s.table(table); len(got) != 1 || got[0] != netip.MustParseAddr(addr) {
			s.t.Errorf("%s holds %v, not %s", table, got, addr)
		}
	}
}

func (tr *trial) exits(code int) {
	tr.site.t.Helper()
	_ = tr.wait() // its exit status is looked at
	if got := tr.cmd.ProcessState.ExitCode(); got != code {
		tr.site.t.Errorf("exit %d, not %d; it says\n%s", got, code, tr.said)
	}
}
