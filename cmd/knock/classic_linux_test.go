package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
)

// Debian's programs, by their full names: ours are called the same.
const (
	debianKnock  = "/usr/bin/knock"
	debianKnockd = "/usr/sbin/knockd"
)

// classicServer starts Debian's knockd on a host with three sequences, each of
// which lets the source connect to a port of its own. Without it the host drops
// what comes to them.
func classicServer(t *testing.T, h *lab.Host) {
	t.Helper()
	labtest.NeedRoot(t)
	labtest.Need(t, debianKnockd, "iptables", "ip6tables")
	labtest.MustRun(t, h, "", "iptables", "-A", "INPUT", "-p", "tcp", "--dport", "2201:2203", "-j", "DROP")
	dir := t.TempDir()
	var config strings.Builder
	fmt.Fprintf(&config, "[options]\n  logfile = %s\n  pidfile = %s\n", filepath.Join(dir, "log"), filepath.Join(dir, "pid"))
	for _, s := range []struct{ name, sequence, port string }{
		{"tcp", "7001,7002,7003", "2201"},
		{"udp", "7101:udp,7102:udp,7103:udp", "2202"},
		{"mixed", "7201:tcp,7202:udp,7203:tcp", "2203"},
	} {
		fmt.Fprintf(&config, "[%s]\n  sequence = %s\n  seq_timeout = 10\n  tcpflags = syn\n  command = %s -I INPUT -s %%IP%% -p tcp --dport %s -j ACCEPT\n",
			s.name, s.sequence, iptables(t), s.port)
		labtest.Listen(t, h, "tcp", ":"+s.port)
	}
	file := filepath.Join(dir, "knockd.conf")
	if err := os.WriteFile(file, []byte(config.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	words := new(buffer)
	cmd := exec.Command(debianKnockd, "-i", "eth0", "-c", file, "-p", filepath.Join(dir, "pid"), "-v", "-D")
	cmd.Stdout, cmd.Stderr = words, words
	labtest.Start(t, h, cmd)
	// It says nothing when it is ready, but its packet socket is then there.
	labtest.Eventually(t, 10*time.Second, func() error {
		out := labtest.MustRun(t, h, "", "cat", "/proc/thread-self/net/packet")
		if strings.Count(out, "\n") < 2 {
			return errors.New("knockd does not listen: " + words.String())
		}
		return nil
	})
}

func iptables(t *testing.T) string {
	t.Helper()
	path, err := lab.FindTool("iptables")
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// connects reports whether a connection comes about soon.
func connects(t *testing.T, from *lab.Host, address string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	c, err := from.Dial(ctx, "tcp", address)
	if err == nil {
		c.Close()
	}
	return err
}

func TestTheClassicFormOpensDebiansKnockd(t *testing.T) {
	server, near := labtest.NewHost(t, "server"), labtest.NewHost(t, "laptop")
	labtest.Join(t, server, near)
	classicServer(t, server)
	l := newLaptop(t, near, nil)
	host := server.Addr4.String()
	for _, c := range []struct {
		name string
		args []string
		port string
	}{
		{"tcp", []string{host, "7001", "7002", "7003"}, "2201"},
		{"udp", []string{"-u", host, "7101", "7102", "7103"}, "2202"},
		{"mixed, slowly", []string{"-d", "50", "-v", host, "7201:tcp", "7202:udp", "7203"}, "2203"},
	} {
		t.Run(c.name, func(t *testing.T) {
			address := net.JoinHostPort(host, c.port)
			if err := connects(t, near, address); err == nil {
				t.Fatal("it was open before")
			}
			p, code := l.run(c.args...)
			if code != 0 || p.stdout.String() != "" {
				t.Fatalf("exit %d, %q on standard output\n%s", code, p.stdout, p.stderr)
			}
			if err := p.stderr.says("knock: " + host + ": " + host + " knocked after"); err != nil {
				t.Error(err)
			}
			labtest.Eventually(t, 5*time.Second, func() error { return connects(t, near, address) })
		})
	}
}

func TestDebiansKnockOpensOurServer(t *testing.T) {
	labtest.Need(t, debianKnock)
	server, near := labtest.NewHost(t, "server"), labtest.NewHost(t, "laptop")
	labtest.Join(t, server, near)
	labtest.Listen(t, server, "tcp", ":2200")
	installGate(t, server, "classic", `sequence = ["7001/tcp", "7002/udp", "7003/tcp"]
open = ["2200/tcp"]
`)
	for _, host := range []string{server.Addr4.String(), server.Addr6.String()} {
		address := net.JoinHostPort(host, "2200")
		if err := connects(t, near, address); err == nil {
			t.Fatalf("%s was open before", address)
		}
		labtest.MustRun(t, near, "", debianKnock, "-d", "5", host, "7001", "7002:udp", "7003:tcp")
		labtest.Eventually(t, 5*time.Second, func() error { return connects(t, near, address) })
	}
}
