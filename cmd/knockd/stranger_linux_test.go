package main

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"knockkit/internal/lab"
)

// beStranger makes this test binary a process of another user, which holds or hammers what
// any user can.
const beStranger = "KNOCKD_TEST_STRANGER"

// What a stranger finds: every name of ours, and the port of the metrics.
var strangersNames = []string{"@knockd/lock", "@knockd/run", "@knockd/events"}

const metricsAddress = "127.0.0.1:9478"

// TestStranger is the stranger's process.
func TestStranger(t *testing.T) {
	what := os.Getenv(beStranger)
	if what == "" {
		t.Skip("it runs in other tests")
	}
	const nobody = 65534
	if err := errors.Join(syscall.Setgroups(nil), syscall.Setresgid(nobody, nobody, nobody), syscall.Setresuid(nobody, nobody, nobody)); err != nil {
		t.Fatal(err)
	}
	var kept []any // or the garbage collector would close them
	switch what {
	case "hold":
		for _, name := range strangersNames {
			l, err := net.Listen("unix", name)
			if err != nil {
				t.Fatal(err)
			}
			kept = append(kept, l)
			for { // until the backlog is full: nobody is ever answered
				c, err := net.Dial("unix", name)
				if errors.Is(err, unix.EAGAIN) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				kept = append(kept, c)
			}
		}
		l, err := net.Listen("tcp", metricsAddress)
		if err != nil {
			t.Fatal(err)
		}
		kept = append(kept, l)
		fmt.Println("ready")
	case "hammer":
		fmt.Println("ready")
		for i := 0; ; i++ {
			for _, name := range strangersNames {
				if c, err := net.Dial("unix", name); err == nil && len(kept) < 5000 && i%2 == 0 {
					kept = append(kept, c) // hung up on by the other side
				} else if err == nil {
					c.Close()
				}
			}
			if c, err := net.DialTimeout("tcp", metricsAddress, time.Second); err == nil {
				if len(kept) < 8000 {
					kept = append(kept, c) // says nothing
				} else {
					c.Close()
				}
			}
		}
	}
	for {
		time.Sleep(time.Hour)
		runtime.KeepAlive(kept)
	}
}

// stranger starts one, and waits until it holds what it can.
func (s *served) stranger(what string) (end func()) {
	s.t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestStranger$")
	cmd.Env = append(os.Environ(), beStranger+"="+what)
	out, err := cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.host.Start(cmd); err != nil {
		s.t.Fatal(err)
	}
	end = func() {
		_ = cmd.Process.Kill() // it may have ended, with the test
		_ = cmd.Wait()
	}
	s.t.Cleanup(end)
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		s.t.Fatalf("the stranger says %q: %v", line, err)
	}
	return end
}

// TestAStrangerWhoHoldsEveryNameKeepsNobodyOut has a process of another user hold all that
// any user can: the names, with a full backlog, and the port of the metrics. Everything is
// done all the same, and nothing waits for it or spins.
func TestAStrangerWhoHoldsEveryNameKeepsNobodyOut(t *testing.T) {
	eachBackend(t, func(t *testing.T, s *served) {
		s.settings(fmt.Sprintf("backend = %q\nmetrics = %q\n", s.backend, metricsAddress))
		end := s.stranger("hold")
		src := lab.ForgedAddr4(1)
		quick := func(args ...string) {
			t.Helper()
			began := time.Now()
			s.must(args...)
			if took := time.Since(began); took > soon/2 {
				t.Errorf("knockd %s: %s", strings.Join(args, " "), took)
			}
		}
		quick("install", "mysql")
		if s.answers(src) {
			t.Error("install: the gate is open")
		}
		quick("grant", "mysql", src.String())
		if !s.answers(src) {
			t.Error("grant: it is shut")
		}
		quick("revoke", "mysql", src.String())
		if s.answers(src) {
			t.Error("revoke: it is open")
		}
		quick("remove", "mysql")
		if !s.answers(src) {
			t.Error("remove: it is shut")
		}
		service := s.run()
		service.logs("metrics cannot be shown")
		service.logs("commands cannot ask for a look at the kernel")
		service.logs("other watchers get no events")
		if s.answers(src) {
			t.Error("run: the gate is open")
		}
		s.knock(src, "icmp", "7/tcp", "8000/tcp")
		service.logs("msg=grant")
		s.flush()
		service.logs("the rules had been changed")
		if !s.answers(src) || s.answers(lab.ForgedAddr4(2)) {
			t.Error("repair: the lease or the gate is gone")
		}
		quick("status", "--check")
		if out := s.knockd("remove", "mysql"); out.Code != 0 || !strings.Contains(out.Stderr, fmt.Sprintf("knockd run (process %d) looks after this host", service.cmd.Process.Pid)) {
			t.Errorf("remove: exit %d, %s", out.Code, out.Stderr)
		}
		if out := s.knockd("run"); out.Code != 1 || !strings.Contains(out.Stderr, fmt.Sprintf("another knockd run (process %d) looks after this host", service.cmd.Process.Pid)) {
			t.Errorf("a second service: exit %d, %s", out.Code, out.Stderr)
		}
		s.idles(service, "beside a stranger who holds everything")
		end()
		service.logs("page=http://" + metricsAddress)
		s.eventually("nudges are heard again", 2*soon, func() bool {
			var err error
			_ = s.host.Do(func() error {
				var l net.Listener
				if l, err = net.Listen("unix", "@knockd/run"); err == nil {
					l.Close()
				}
				return nil
			})
			return errors.Is(err, unix.EADDRINUSE)
		})
	})
}

// idles measures the service's work. A loop that spins takes all of a processor.
func (s *served) idles(service *running, when string) {
	s.t.Helper()
	const watched = 2 * time.Second
	before := cpuTime(s.t, service.cmd.Process.Pid)
	time.Sleep(watched)
	worked := cpuTime(s.t, service.cmd.Process.Pid) - before
	s.t.Logf("%s it worked %s in %s", when, worked, watched)
	if worked > watched/4 {
		s.t.Errorf("%s it worked %s in %s", when, worked, watched)
	}
}

// TestAStrangerWhoHammersTheSocketsOccupiesNobody has one connect as fast as it can, and keep
// thousands of connections.
func TestAStrangerWhoHammersTheSocketsOccupiesNobody(t *testing.T) {
	eachBackend(t, func(t *testing.T, s *served) {
		s.settings(fmt.Sprintf("backend = %q\nmetrics = %q\n", s.backend, metricsAddress))
		// As a unit without a LimitNOFILE= of its own would be limited in the hard sense too.
		service := s.run()
		if err := unix.Prlimit(service.cmd.Process.Pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 256, Max: 256}, nil); err != nil {
			t.Fatal(err)
		}
		end := s.stranger("hammer")
		src := lab.ForgedAddr4(1)
		s.idles(service, "while a stranger hammers")
		s.knock(src, "icmp", "7/tcp", "8000/tcp")
		service.logs("msg=grant")
		s.flush()
		s.eventually("the rules are right again", 2*repair, func() bool { return s.knockd("status", "--check").Code == 0 && !s.answers(lab.ForgedAddr4(2)) })
		if !s.answers(src) {
			t.Error("the lease is lost")
		}
		s.must("revoke", "mysql", src.String())
		end()
		if code := s.watch().stop(); code != 0 {
			t.Errorf("watch ends with %d", code)
		}
	})
}
