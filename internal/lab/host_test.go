//go:build linux

package lab_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
)

func TestTwoHostsAreApart(t *testing.T) {
	a, b := labtest.NewHost(t, "a"), labtest.NewHost(t, "b")
	// The same loopback port is free on both, and open only where it was opened.
	labtest.Listen(t, a, "tcp", "127.0.0.1:4000")
	if _, err := b.Dial(t.Context(), "tcp", "127.0.0.1:4000"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("dial on the other host: %v, want connection refused", err)
	}
	labtest.Listen(t, b, "tcp", "127.0.0.1:4000")
	c, err := a.Dial(t.Context(), "tcp", "127.0.0.1:4000")
	if err != nil {
		t.Fatalf("dial on the same host: %v", err)
	}
	c.Close()
}

func TestTheProcessesOwnNetworkIsNotTouched(t *testing.T) {
	labtest.Need(t)
	before := ownNetwork(t)
	a, b, c := labtest.NewHost(t, "a"), labtest.NewHost(t, "b"), labtest.NewHost(t, "c")
	labtest.Network(t, a, b, c)
	labtest.Join(t, a, b)
	if err := a.Sysctl("ipv4/tcp_syncookies", "0"); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if err := a.Do(func() error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	if after := ownNetwork(t); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	own, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	// Threads that were on a host end; none may go on to run other goroutines.
	labtest.Eventually(t, 5*time.Second, func() error {
		threads, err := filepath.Glob("/proc/self/task/*/ns/net")
		if err != nil {
			return err
		}
		for _, thread := range threads {
			ns, err := os.Readlink(thread)
			if err == nil && ns != own {
				return fmt.Errorf("%s is in %s, the process in %s", thread, ns, own)
			}
		}
		return nil
	})
}

// ownNetwork describes the network of the process: its interfaces, and a setting.
func ownNetwork(t *testing.T) string {
	t.Helper()
	interfaces, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	setting, err := os.ReadFile("/proc/sys/net/ipv4/tcp_syncookies")
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%+v %s", interfaces, setting)
}

func TestCommandsRunOnTheirHost(t *testing.T) {
	h := labtest.NewHost(t, "h")
	got := labtest.MustRun(t, h, "from stdin\n", "sh", "-c", "cat; readlink /proc/self/ns/net")
	var ns string
	if err := h.Do(func() (err error) {
		ns, err = os.Readlink("/proc/thread-self/ns/net")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if want := "from stdin\n" + ns + "\n"; got != want {
		t.Errorf("output %q, want %q", got, want)
	}
	out := labtest.Run(t, h, "", "sh", "-c", "echo oh >&2; exit 7")
	if want := (lab.Output{Stderr: "oh\n", Code: 7}); out != want {
		t.Errorf("a failing command gave %+v, want %+v", out, want)
	}
	if _, err := h.Run(t.Context(), "", "no-such-command"); !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("a missing command gave %v", err)
	}
}

func TestACommandThatWouldDieWithItsThreadIsRefused(t *testing.T) {
	h := labtest.NewHost(t, "h")
	cmd := exec.Command("true")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := h.Start(cmd); err == nil {
		_ = cmd.Wait()
		t.Error("it was started")
	}
}

func TestAPanicOnAHostReachesTheCaller(t *testing.T) {
	h := labtest.NewHost(t, "h")
	defer func() {
		if p := recover(); p == nil || !strings.Contains(fmt.Sprint(p), "oh no") {
			t.Errorf("recovered %v", p)
		}
	}()
	_ = h.Do(func() error { panic("oh no") })
	t.Error("Do returned")
}

func TestATestMayEndOnAHost(t *testing.T) {
	h := labtest.NewHost(t, "h")
	ended := t.Run("inner", func(t *testing.T) {
		_ = h.Do(func() error {
			t.SkipNow() // ends the goroutine just as t.Fatal does
			return nil
		})
		t.Error("the test went on")
	})
	if !ended {
		t.Error("the inner test failed")
	}
}

func TestAClosedHostSaysSo(t *testing.T) {
	h := labtest.NewHost(t, "h")
	if err := errors.Join(h.Close(), h.Close()); err != nil {
		t.Fatal(err)
	}
	if err := h.Do(func() error { return nil }); err == nil {
		t.Error("Do works on a closed host")
	}
	if err := lab.Join(h, labtest.NewHost(t, "other")); err == nil {
		t.Error("a closed host was joined")
	}
}
