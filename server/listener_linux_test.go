package server_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
)

// plainListen listens without MPTCP, which Go's own listeners have, and whose listening
// sockets the kernel does not let anybody destroy.
func plainListen(t *testing.T, h *lab.Host, network, address string) (l net.Listener) {
	t.Helper()
	plain := new(net.ListenConfig)
	plain.SetMultipathTCP(false)
	if err := h.Do(func() (err error) {
		l, err = plain.Listen(t.Context(), network, address)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// finish closes both sides, the client first, and waits until the server's is gone:
// conntrack alone remembers the connection then.
func (c *talk) finish(t *testing.T) {
	t.Helper()
	if err := errors.Join(c.client.Close(), c.server.SetReadDeadline(time.Now().Add(soon))); err != nil {
		t.Fatal(err)
	}
	if _, err := c.server.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Fatalf("the server reads %v, not the end", err)
	}
	if err := c.server.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestARevokeThatCutsLeavesTheListenerAlone: conntrack remembers a connection for
// minutes after it is over. The kernel, asked for its socket, finds the listening one.
func TestARevokeThatCutsLeavesTheListenerAlone(t *testing.T) {
	eachBackend(t, func(t *testing.T, name string) {
		s := newSite(t, name, strict())
		client := s.neighbour()
		s.install(article(t, ""))
		for _, c := range []struct {
			name, network string
			src           netip.Addr
		}{{"ipv4", "tcp4", client.Addr4}, {"ipv4 of a socket for both", "tcp", client.Addr4}, {"ipv6", "tcp6", client.Addr6}} {
			t.Run(c.name, func(t *testing.T) {
				s.t = t
				service := plainListen(t, s.host, c.network, ":3306")
				s.grant("mysql", c.src, 0)
				s.connect(client, service, c.src).finish(t)
				if _, ended := s.revoke("mysql", c.src, true); ended != 0 {
					t.Errorf("%d connections ended, of which none was left", ended)
				}
				s.grant("mysql", c.src, 0)
				if err := s.connect(client, service, c.src).say("a new connection"); err != nil {
					t.Error(err)
				}
				if _, ended := s.revoke("mysql", c.src, true); ended != 1 {
					t.Errorf("%d connections ended, not 1", ended)
				}
			})
		}
	})
}

// TestMariaDBAndSSHServeOthersAfterARevokeThatCuts: the holder has had a connection
// to each and has one open. MariaDB writes an error for ever, and sshd lets nobody in,
// when their listening sockets are taken from them.
func TestMariaDBAndSSHServeOthersAfterARevokeThatCuts(t *testing.T) {
	eachBackend(t, func(t *testing.T, name string) {
		s := newSite(t, name, strict())
		holder, other := labtest.NewHost(t, "holder"), labtest.NewHost(t, "other")
		labtest.Network(t, s.host, holder, other)
		db, ssh := labtest.MariaDB(t, s.host), secureShell(t, s.host)
		s.install(parse(t, "both", "sequence = [\"1001/tcp\", \"1002/tcp\"]\nopen = [\"3306/tcp\", \"22/tcp\"]"))
		cable := s.host.Interfaces[1] // the wire is the first
		for _, family := range []struct {
			name              string
			to, holder, other netip.Addr
		}{{"ipv4", cable.Addr4.Addr(), holder.Addr4, other.Addr4}, {"ipv6", cable.Addr6.Addr(), holder.Addr6, other.Addr6}} {
			t.Run(family.name, func(t *testing.T) {
				s.t = t
				sql := []string{"mariadb", "--no-defaults", "--skip-ssl", "-h", family.to.String(), "-u", db.User, "-p" + db.Password, "-N"}
				shell := append(ssh, family.to.String())
				use := func(from *lab.Host, when string) {
					t.Helper()
					for input, command := range map[string][]string{"SELECT 'served';": sql, "echo served": append(shell, "sh")} {
						if got := labtest.Run(t, from, input, command[0], command[1:]...); got.Stdout != "served\n" {
							t.Errorf("%s, %s is not served %s: %s%s", input, from, when, got.Stdout, got.Stderr)
						}
					}
				}
				s.grant("both", family.holder, 0)
				s.grant("both", family.other, 0)
				use(holder, "before")
				waits := []func() error{
					longCommand(t, holder, append(sql, "--unbuffered", "-e", "SELECT 'begun'; SELECT SLEEP(120)")),
					longCommand(t, holder, append(shell, "echo begun; exec sleep 120")),
				}
				if _, ended := s.revoke("both", family.holder, true); ended != len(waits) {
					t.Errorf("%d connections ended, not %d", ended, len(waits))
				}
				for _, wait := range waits {
					if err := wait(); err == nil {
						t.Error("a session went on to its end")
					}
				}
				use(other, "after the revoke")
				s.grant("both", family.holder, 0)
				use(holder, "with a new lease")
			})
		}
	})
}

// longCommand starts a command that says "begun" and then takes long. wait waits a while
// for its end.
func longCommand(t *testing.T, h *lab.Host, args []string) (wait func() error) {
	t.Helper()
	tool, err := lab.FindTool(args[0])
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(tool, args[1:]...)
	path := filepath.Join(t.TempDir(), "out")
	out, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = out, out
	end := labtest.Start(t, h, cmd)
	labtest.Eventually(t, 20*time.Second, func() error {
		text, err := os.ReadFile(path)
		if err == nil && !bytes.Contains(text, []byte("begun")) {
			err = fmt.Errorf("%s says %q", args[0], text)
		}
		return err
	})
	return func() error {
		ended := make(chan error, 1)
		go func() { ended <- end() }()
		select {
		case err := <-ended:
			return err
		case <-time.After(20 * time.Second):
			t.Fatalf("%s has not noticed that its connection has ended", args[0])
			return nil
		}
	}
}

// secureShell starts Debian's sshd on a host, on port 22, with keys of its own. It
// returns the command that logs in, to which the address is added.
func secureShell(t *testing.T, h *lab.Host) []string {
	t.Helper()
	labtest.Need(t, "sshd", "ssh", "ssh-keygen")
	sshd, err := lab.FindTool("sshd")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"host", "user"} {
		labtest.MustRun(t, h, "", "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path(name))
	}
	// Where sshd separates its privileges; Debian's service makes it at boot.
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
		t.Fatal(err)
	}
	config := strings.NewReplacer("DIR", dir).Replace(`Port 22
HostKey DIR/host
PidFile DIR/pid
AuthorizedKeysFile DIR/user.pub
StrictModes no
UsePAM no
PermitRootLogin yes
PasswordAuthentication no
`)
	if err := os.WriteFile(path("config"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	labtest.Start(t, h, exec.Command(sshd, "-D", "-E", path("log"), "-f", path("config")))
	labtest.Eventually(t, 20*time.Second, func() error {
		var c net.Conn
		c, err := h.Dial(t.Context(), "tcp", "127.0.0.1:22")
		if err == nil {
			c.Close()
		}
		return err
	})
	return []string{"ssh", "-F", "none", "-i", path("user"), "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes",
		"-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=" + path("known"), "-o", "LogLevel=ERROR", "-l", "root"}
}
