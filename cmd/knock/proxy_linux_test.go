package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
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
		return openSSH(t, l, "ssh", stdin, append(options, append([]string{"-p", "2222"}, words...)...)...)
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

// openSSH runs a program of OpenSSH on the laptop. Words on standard error are an error, too.
func openSSH(t *testing.T, l *laptop, name string, stdin io.Reader, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command(name, args...)
	var out, problems buffer
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = l.env(), stdin, &out, &problems
	err := labtest.Start(t, l.host, cmd)()
	if words := problems.String(); words != "" {
		err = errors.Join(err, errors.New(words))
	}
	return out.String(), err
}

// OpenSSH ends its ProxyCommand by a signal when it is done, and shows what that says.
func TestTheProxySaysNothingWhenOpenSSHIsDoneWithIt(t *testing.T) {
	server, near := labtest.NewHost(t, "server"), labtest.NewHost(t, "laptop")
	labtest.Join(t, server, near)
	labtest.Need(t, "scp")
	options := append(labtest.SSHD(t, server, 2222), "-o", "Port=2222")
	installGate(t, server, "ssh", sshProfile)
	l := newLaptop(t, near, map[string]string{"ssh": sshProfile})
	to := server.Addr4.String()
	options = append(options, "-o", "ProxyCommand=knock proxy -p "+filepath.Join(l.config, "profiles", "ssh.toml")+" %h %p")
	for i := range 5 { // the signal and the end of the input are in a race
		if out, err := openSSH(t, l, "ssh", nil, append(options, to, "echo in")...); err != nil || out != "in\n" {
			t.Errorf("ssh %d: %q, %v", i, out, err)
		}
	}
	file := l.write("sent", "by scp\n")
	if out, err := openSSH(t, l, "scp", nil, append(options, "-q", file, to+":"+file+".copy")...); err != nil || out != "" {
		t.Errorf("scp there: %q, %v", out, err)
	}
	if out, err := openSSH(t, l, "scp", nil, append(options, "-q", to+":"+file+".copy", file+".back")...); err != nil || out != "" {
		t.Errorf("scp back: %q, %v", out, err)
	}
	if text, err := os.ReadFile(file + ".back"); err != nil || string(text) != "by scp\n" {
		t.Errorf("%q came back, %v", text, err)
	}
}

func TestAProxyThatIsEndedSaysSoOnlyBeforeItWasConnected(t *testing.T) {
	server, near := labtest.NewHost(t, "server"), labtest.NewHost(t, "laptop")
	labtest.Join(t, server, near)
	go greet(labtest.Listen(t, server, "tcp", ":2222"))
	host := "host = \"" + server.Addr4.String() + "\"\n"
	// The gate knows another sequence: it stays shut, silently.
	installGate(t, server, "shut", "sequence = [\"1301/tcp\", \"1302/tcp\"]\nopen = [\"2223/tcp\"]\n")
	l := newLaptop(t, near, map[string]string{"ssh": host + sshProfile, "shut": host + "sequence = [\"1202/udp\"]\nopen = [\"2223/tcp\"]\n"})
	in, input, err := os.Pipe() // never ends
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	defer input.Close()
	for _, s := range []syscall.Signal{syscall.SIGHUP, syscall.SIGTERM, syscall.SIGINT} {
		t.Run(s.String(), func(t *testing.T) {
			p := l.startWith(in, "proxy", "ssh")
			labtest.Eventually(t, 10*time.Second, func() error { return p.stdout.says("hello") })
			end(t, p, s)
			if p.stderr.String() != "" {
				t.Errorf("connected, it says %q", p.stderr)
			}
			if p, _ := l.run("status"); p.stdout.says("ssh      "+server.Addr4.String()) != nil {
				t.Errorf("status: %s%s", p.stdout, p.stderr)
			}
			knocks := labtest.ListenPacket(t, server, "udp", ":1202")
			defer knocks.Close()
			p = l.startWith(in, "proxy", "shut")
			if err := knocks.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
				t.Fatal(err)
			}
			if _, _, err := knocks.ReadFrom(nil); err != nil { // then it is under way
				t.Fatal(err)
			}
			end(t, p, s)
			want := "before " + server.Addr4.String() + ":2223 was connected\n"
			if text := p.stderr.String(); !strings.HasPrefix(text, "knock: error: interrupted") || !strings.HasSuffix(text, want) || strings.Count(text, "\n") != 1 {
				t.Errorf("not yet connected, it says %q, want one line that ends in %q", text, want)
			}
		})
	}
}

// greet says hello on every connection; one may be the check of the knock.
func greet(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			_, _ = io.WriteString(c, "hello")
			_, _ = c.Read(make([]byte, 1)) // its end
		}()
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
