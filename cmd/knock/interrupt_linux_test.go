package main

import (
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"knockkit/internal/lab/labtest"
)

// end sends a signal to a program and sees that it ends with its exit code.
func end(t *testing.T, p *program, s syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
	_ = p.wait() // the exit code says the same
	if code := p.cmd.ProcessState.ExitCode(); code != 128+int(s) {
		t.Errorf("exit %d, want %d", code, 128+int(s))
	}
}

func TestAKnockThatIsInterruptedExitsAsAShellReportsIt(t *testing.T) {
	server, near := labtest.NewHost(t, "server"), labtest.NewHost(t, "laptop")
	labtest.Join(t, server, near)
	// The gate knows another sequence: it stays shut, silently.
	installGate(t, server, "shut", "sequence = [\"1301/tcp\", \"1302/tcp\"]\nopen = [\"2223/tcp\"]\n")
	l := newLaptop(t, near, map[string]string{"shut": "sequence = [\"1202/udp\"]\nopen = [\"2223/tcp\"]\n"})
	for _, c := range []struct {
		name   string
		signal syscall.Signal
		args   []string
		said   string
	}{
		{"one host", syscall.SIGINT, nil, "knock: error: interrupted\n"},
		{"several", syscall.SIGINT, []string{"--host", server.Addr6.String()}, "knock: error: interrupted\n"},
		{"by whoever runs the job", syscall.SIGTERM, nil, "knock: error: interrupted by SIGTERM\n"},
		{"with a command, which is not run", syscall.SIGTERM, []string{"--", "echo", "ran"}, "knock: error: interrupted by SIGTERM\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			knocks := labtest.ListenPacket(t, server, "udp", ":1202")
			defer knocks.Close()
			p := l.start(append([]string{"shut@" + server.Addr4.String()}, c.args...)...)
			if err := knocks.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
				t.Fatal(err)
			}
			if _, _, err := knocks.ReadFrom(nil); err != nil { // then it is under way
				t.Fatal(err)
			}
			end(t, p, c.signal)
			if p.stderr.String() != c.said || p.stdout.String() != "" {
				t.Errorf("it says %q and writes %q, want %q", p.stderr, p.stdout, c.said)
			}
		})
	}
}

func TestASignalThatWasIgnoredAtTheStartStaysIgnored(t *testing.T) {
	server, near := labtest.NewHost(t, "server"), labtest.NewHost(t, "laptop")
	labtest.Join(t, server, near)
	labtest.Need(t, "nohup")
	go greet(labtest.Listen(t, server, "tcp", ":2222"))
	l := newLaptop(t, near, map[string]string{"ssh": "host = \"" + server.Addr4.String() + "\"\n" + sshProfile})
	in, input, err := os.Pipe() // never ends
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	defer input.Close()
	p := &program{stdout: new(buffer), stderr: new(buffer)}
	p.cmd = exec.Command("nohup", "knock", "proxy", "ssh")
	p.cmd.Env, p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = l.env(), in, p.stdout, p.stderr
	p.wait = labtest.Start(t, near, p.cmd)
	labtest.Eventually(t, 10*time.Second, func() error { return p.stdout.says("hello") })
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	end(t, p, syscall.SIGTERM) // of two signals the first would have told
}
