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
	"knockkit/protocol"
)

// reader is somebody who types what the README says, on a server and a laptop.
type reader struct {
	t              *testing.T
	server, laptop *lab.Host
	dir            string // holds what they would have in /etc/knockd, /usr/local and at home
}

// TestTheCommandsOfTheREADMEDoWhatItSays runs every sh block, in order. What
// stands behind "sh" says where: here (the project's folder), server, laptop, or
// undo (the server, at the end).
func TestTheCommandsOfTheREADMEDoWhatItSays(t *testing.T) {
	labtest.NeedRoot(t)
	labtest.Need(t, "iptables", "make", "bash")
	r := newReader(t)
	r.greet()
	places := map[string]*lab.Host{"here": r.laptop, "server": r.server, "laptop": r.laptop, "undo": r.server}
	// What a connection from the laptop gets after the latest block of each place.
	open := map[string]bool{"here": true, "server": false, "laptop": true, "undo": true}
	run := map[string]int{}
	knocked := false
	for _, b := range only(blocks(t, "README.md", "sh", "text"), "sh") {
		where, known := places[b.About]
		if !known {
			t.Fatalf("a block of commands is for %q, which is nowhere:\n%s", b.About, b.Text)
		}
		run[b.About]++
		said := r.run(where, b)
		knocked = knocked || b.About == "laptop"
		want := open[b.About] || knocked
		if got := r.reaches(); got != want {
			t.Errorf("after these commands on %q MySQL answers the laptop: %v, want %v\n%s\n%s", b.About, got, want, b.Text, said)
		}
		if b.About == "laptop" && !strings.Contains(said, greeting) {
			t.Errorf("the command after -- did not reach MySQL:\n%s", said)
		}
	}
	for place := range places {
		if run[place] == 0 {
			t.Errorf("the README has no commands for %q", place)
		}
	}
	if rules := labtest.MustRun(t, r.server, "", "iptables", "-S"); strings.Contains(rules, "KNOCKD") {
		t.Errorf("at the end the server has still these rules:\n%s", rules)
	}
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

func TestTheDiagramOfThePageIsTheMachineOfTheExample(t *testing.T) {
	diagrams := only(blocks(t, "docs/how-it-works.md", "text", "iptables", "mermaid"), "mermaid")
	if len(diagrams) != 1 {
		t.Fatalf("the page has %d diagrams, want 1", len(diagrams))
	}
	a, err := protocol.Compile([]*protocol.Profile{example(t, "mysql")}, protocol.IPv4)
	if err != nil {
		t.Fatal(err)
	}
	if want := protocol.Mermaid(a); diagrams[0].Text != want {
		t.Errorf("the page shows\n%s\nand `knockd graph mysql` draws\n%s", diagrams[0].Text, want)
	}
}
