package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"knockkit/internal/lab/labtest"
)

const sshProfile = `sequence = ["icmp", "1201/tcp", "1202/udp"]
open = ["2222/tcp"]
`

func TestSSHReachesAServerBehindAGateThroughTheProxy(t *testing.T) {
	server, near := labtest.NewHost(t, "server"), labtest.NewHost(t, "laptop")
	labtest.Join(t, server, near)
	options := labtest.SSHD(t, server, 2222)
	installGate(t, server, "ssh", sshProfile)
	l := newLaptop(t, near, map[string]string{"ssh": sshProfile})
	ssh := func(stdin io.Reader, words ...string) (string, error) {
		cmd := exec.Command("ssh", append(options, append([]string{"-p", "2222"}, words...)...)...)
		var out, problems buffer
		cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = l.env(), stdin, &out, &problems
		err := labtest.Start(t, near, cmd)()
		if err != nil {
			err = fmt.Errorf("%w: %s", err, problems.String())
		}
		return out.String(), err
	}
	if out, err := ssh(nil, "-o", "ConnectTimeout=1", server.Addr4.String(), "echo in"); err == nil {
		t.Fatalf("ssh came in without a knock and said %q", out)
	}
	proxy := []string{"-o", "ProxyCommand=knock proxy ssh %h %p"}
	for _, to := range []string{server.Addr4.String(), server.Addr6.String()} {
		if out, err := ssh(nil, append(proxy, "-o", "ConnectTimeout=20", to, "echo in")...); err != nil || out != "in\n" {
			t.Errorf("%s: %q, %v", to, out, err)
		}
	}
	// A transfer both ways, ended by the end of the input.
	const size = 4 << 20
	out, err := ssh(strings.NewReader(strings.Repeat("x", size)), append(proxy, server.Addr4.String(), "tr x y")...)
	if err != nil || len(out) != size || strings.Trim(out, "y") != "" {
		t.Errorf("%d bytes came back, want %d: %v", len(out), size, err)
	}
}

func TestTheProxyPassesTheEndOfEachDirectionOn(t *testing.T) {
	server, near := labtest.NewHost(t, "server"), labtest.NewHost(t, "laptop")
	labtest.Join(t, server, near)
	installGate(t, server, "ssh", sshProfile)
	l := newLaptop(t, near, map[string]string{"ssh": "host = \"" + server.Addr4.String() + "\"\n" + sshProfile})
	listener := labtest.Listen(t, server, "tcp", ":2222")
	// The server ends its direction first or last; either way the other one still
	// carries what comes after.
	for _, first := range []string{"server", "client"} {
		t.Run("the "+first+" first", func(t *testing.T) {
			served := make(chan error, 1)
			go func() { served <- serveOnce(listener, first == "server") }()
			self, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			in, input := io.Pipe()
			answer, out := io.Pipe()
			cmd := &exec.Cmd{Path: self, Args: []string{"knock", "proxy", "ssh"}, Env: l.env(), Stdin: in, Stdout: out, Stderr: os.Stderr}
			wait := labtest.Start(t, near, cmd)
			ended := make(chan error, 1)
			go func() { ended <- wait(); out.Close() }()
			read := func() string {
				text, err := io.ReadAll(answer)
				if err != nil {
					t.Error(err)
				}
				return string(text)
			}
			if first == "server" {
				// Its output ends when the program has ended, which it must not before
				// its input does; what it wrote is there earlier.
				buf := make([]byte, 6)
				if _, err := io.ReadFull(answer, buf); err != nil || string(buf) != "answer" {
					t.Errorf("%q, %v", buf, err)
				}
			}
			if _, err := io.WriteString(input, "question"); err != nil {
				t.Fatal(err)
			}
			input.Close()
			if first == "client" {
				if text := read(); text != "answer" {
					t.Errorf("%q came back", text)
				}
			}
			for _, c := range []chan error{served, ended} {
				select {
				case err := <-c:
					if err != nil {
						t.Error(err)
					}
				case <-time.After(10 * time.Second):
					t.Fatal("it does not end")
				}
			}
		})
	}
}

// serveOnce answers one connection that says something: its first one may be the
// check of the knock, which does not.
func serveOnce(l net.Listener, endFirst bool) error {
	for range 3 {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		served, err := serve(c.(*net.TCPConn), endFirst)
		if err != nil || served {
			return err
		}
	}
	return errors.New("no connection said anything")
}

func serve(c *net.TCPConn, endFirst bool) (served bool, err error) {
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return false, err
	}
	if endFirst {
		if _, err := io.WriteString(c, "answer"); err != nil {
			return false, nil
		}
		_ = c.CloseWrite() // fails where only a check came
	}
	question, err := io.ReadAll(c)
	switch {
	case len(question) == 0:
		return false, nil
	case err != nil || string(question) != "question":
		return true, fmt.Errorf("question %q: %w", question, err)
	}
	if !endFirst {
		_, err = io.WriteString(c, "answer")
	}
	return true, err
}
