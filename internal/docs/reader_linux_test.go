package docs

import (
	"bufio"
	"context"
	"fmt"
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

// reader is somebody who types what a page says, as root, on a server and a laptop whose
// files are this machine's.
type reader struct {
	t              *testing.T
	server, laptop *lab.Host
	dir            string // holds what they would have in /etc/knockd, /usr/local and at home
}

func newReader(t *testing.T) *reader {
	r := &reader{t: t, server: labtest.NewHost(t, "server"), laptop: labtest.NewHost(t, "laptop"), dir: t.TempDir()}
	labtest.Join(t, r.server, r.laptop)
	for _, dir := range []string{"etc/knockd", "home", "stubs"} {
		if err := os.MkdirAll(filepath.Join(r.dir, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	// The test is root already, the two hosts have one file system, and MySQL is a
	// greeting.
	r.stub("sudo", `exec "$@"`)
	r.stub("ssh", `shift; exec "$@"`)
	r.stub("mysql", `exec 3<>"/dev/tcp/$2/3306"; head -n 1 <&3`)
	return r
}

// stub makes a command of the reader's.
func (r *reader) stub(name, script string) {
	r.t.Helper()
	if err := os.WriteFile(filepath.Join(r.dir, "stubs", name), []byte("#!/bin/bash\n"+script+"\n"), 0o755); err != nil {
		r.t.Fatal(err)
	}
}

// command is a block as a shell of the reader's runs it.
func (r *reader) command(b Block) *exec.Cmd {
	r.t.Helper()
	text := strings.NewReplacer(
		"db1.example.com", r.server.Addr4.String(),
		"/etc/knockd", filepath.Join(r.dir, "etc/knockd"),
	).Replace(b.Text)
	return exec.Command("env", "-u", "XDG_CONFIG_HOME", "-u", "KNOCK_CONFIG", "-u", "SSH_CONNECTION",
		"HOME="+filepath.Join(r.dir, "home"), "KNOCKD_CONFIG="+filepath.Join(r.dir, "etc/knockd"),
		"DESTDIR="+r.dir, "BIN="+filepath.Join(r.dir, "bin"),
		"GOPATH="+goEnv(r.t, "GOPATH"), "GOCACHE="+goEnv(r.t, "GOCACHE"), "GOENV="+goEnv(r.t, "GOENV"), // all of them follow HOME
		"PATH="+filepath.Join(r.dir, "stubs")+":"+filepath.Join(r.dir, "usr/local/bin")+":"+os.Getenv("PATH"),
		"sh", "-euc", "cd "+root+"\n"+text)
}

// run types a block on a host and returns all that is printed.
func (r *reader) run(h *lab.Host, b Block) string {
	r.t.Helper()
	cmd := r.command(b)
	out := labtest.Run(r.t, h, "", cmd.Args[0], cmd.Args[1:]...)
	said := out.Stdout + out.Stderr
	if out.Code != 0 {
		r.t.Fatalf("these commands end with %d:\n%s\n%s", out.Code, b.Text, said)
	}
	return said
}

const greeting = "hello from MySQL"

// greet lets something say hello on the server's port of MySQL.
func (r *reader) greet() {
	l := labtest.Listen(r.t, r.server, "tcp", "[::]:3306")
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // the test is over
			}
			_, _ = fmt.Fprintln(c, greeting) // the check of a knock does not listen
			c.Close()
		}
	}()
}

// reaches reports whether the laptop gets to MySQL. A port that is shut is silent:
// it is given up before the kernel would send its SYN once more.
func (r *reader) reaches() bool {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 700*time.Millisecond)
	defer cancel()
	c, err := r.laptop.Dial(ctx, "tcp", netip.AddrPortFrom(r.server.Addr4, 3306).String())
	if err != nil {
		return false
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		r.t.Fatal(err)
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	return err == nil && line == greeting+"\n"
}
