package claim

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"knockkit/internal/kernel/backend"
	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
)

func TestMain(m *testing.M) { labtest.Main(m) }

// soon is how long a condition may take that needs no waiting.
const soon = 5 * time.Second

// on runs f on a host, and fails with its error.
func on(t *testing.T, h *lab.Host, f func() error) {
	t.Helper()
	if err := h.Do(f); err != nil {
		t.Fatal(err)
	}
}

func take(t *testing.T, h *lab.Host) (c *Claim) {
	t.Helper()
	on(t, h, func() (err error) {
		c, err = Take(Lock)
		return err
	})
	return c
}

func TestAGroupIsHadByOneAndTheOthersSeeByWhomAndForHowLong(t *testing.T) {
	h := labtest.NewHost(t, "server")
	c := take(t, h)
	on(t, h, func() error {
		if _, err := Take(Lock); !errors.Is(err, ErrTaken) {
			t.Errorf("the second gets %v", err)
		}
		other, err := Take(Service)
		if err != nil {
			return err
		}
		defer other.Close()
		if got, found, err := OwnerOf(Lock); err != nil || !found || got.PID != os.Getpid() || got.Command == "" || got.Left != 0 {
			t.Errorf("%+v, %v, %v", got, found, err)
		}
		if err := Inherited(Lock, c.File()).EndsAt(time.Now().Add(4 * time.Minute)); err != nil {
			return err
		}
		if got, _, err := OwnerOf(Lock); err != nil || got.Left < 4*time.Minute-2*time.Second || got.Left > 4*time.Minute+time.Second {
			t.Errorf("%+v, %v", got, err)
		}
		return nil
	})
	c.Close()
	on(t, h, func() error {
		if _, found, err := OwnerOf(Lock); found || err != nil {
			t.Errorf("it is free, and has a holder: %v", err)
		}
		return nil
	})
	take(t, h).Close()
}

func TestTheOwnerOfAGroupIsToldByRootOnly(t *testing.T) {
	labtest.NeedRoot(t)
	h := labtest.NewHost(t, "server")
	tells := func(text string) {
		t.Helper()
		on(t, h, func() error { return Tell(Install, text) })
	}
	tells("nobody has it")
	var c *Claim
	on(t, h, func() (err error) {
		c, err = Take(Install)
		return err
	})
	on(t, h, func() error { return c.EndsAt(time.Now().Add(time.Minute)) })
	const texts = 1500 // more than the kernel's default has room for
	for i := range texts {
		tells(fmt.Sprint("text ", i))
	}
	on(t, h, func() error {
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, 65534, 65534, 65534); errno != 0 { // of a thread that ends here
			return errno
		}
		if Tell(Install, "a stranger's") == nil {
			t.Error("a stranger tells it something")
		}
		fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		err = unix.Sendto(fd, []byte("a stranger's"), unix.MSG_DONTWAIT, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Pid: uint32(os.Getpid())})
		if !errors.Is(err, unix.EPERM) {
			t.Errorf("the kernel takes it: %v", err)
		}
		return nil
	})
	on(t, h, func() error {
		got, err := c.Told()
		if err != nil || len(got) != texts || got[0] != "text 0" || got[texts-1] != fmt.Sprint("text ", texts-1) {
			t.Errorf("%v, %d texts, %.200q", err, len(got), got)
		}
		if got, err := c.Told(); err != nil || len(got) != 0 {
			t.Errorf("again: %q, %v", got, err)
		}
		return c.Close()
	})
	tells("it is gone")
}

// TestAProcessIsFoundWhoseNetlinkPortIsNotItsNumber: any user can bind the port that the
// kernel would choose.
func TestAProcessIsFoundWhoseNetlinkPortIsNotItsNumber(t *testing.T) {
	h := labtest.NewHost(t, "server")
	on(t, h, func() error {
		fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return errors.Join(unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Pid: uint32(os.Getpid())}), func() error {
			c, err := Take(Lock)
			if err != nil {
				return err
			}
			defer c.Close()
			if l, err := listed(Lock); err != nil || l.port == uint32(os.Getpid()) {
				t.Errorf("port %d, %v: the test proves nothing", l.port, err)
			}
			if got, found, err := OwnerOf(Lock); err != nil || !found || got.PID != os.Getpid() {
				t.Errorf("%+v, %v, %v", got, found, err)
			}
			return nil
		}())
	})
}

// takingClaim makes this test binary a process that takes the lock, starts a tool that
// inherits it, and is killed.
const takingClaim = "KNOCKD_TEST_TAKES_A_CLAIM"

func TestAToolKeepsTheGroupOfAProcessThatIsKilled(t *testing.T) {
	if os.Getenv(takingClaim) != "" {
		c, err := Take(Lock)
		if err != nil {
			t.Fatal(err)
		}
		tool := exec.Command("sleep", "0.5")
		tool.ExtraFiles = []*os.File{c.File()}
		if err := errors.Join(tool.Start(), unix.Kill(os.Getpid(), unix.SIGKILL)); err != nil {
			t.Fatal(err)
		}
		select {}
	}
	h := labtest.NewHost(t, "server")
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), takingClaim+"=1")
	_ = labtest.Start(t, h, cmd)() // killed
	on(t, h, func() error {
		if got, found, err := OwnerOf(Lock); err != nil || !found || got.Command != "sleep" {
			t.Errorf("%+v, %v, %v", got, found, err)
		}
		if pid := Opener(Lock); pid != 0 {
			t.Errorf("process %d has opened it, and was killed", pid)
		}
		return nil
	})
	labtest.Eventually(t, soon, func() error {
		return h.Do(func() error {
			c, err := Take(Lock)
			if err != nil {
				return err
			}
			return c.Close()
		})
	})
}

// TestACapabilityThatIsNotOfTheNetworksNamespaceTakesNothing: the kernel says EPERM, as to
// who comes second.
func TestACapabilityThatIsNotOfTheNetworksNamespaceTakesNothing(t *testing.T) {
	if os.Getenv(takingClaim) != "" {
		if _, err := Take(Lock); !errors.Is(err, backend.ErrPrivilege) {
			t.Fatalf("%v", err)
		}
		return
	}
	labtest.Need(t, "unshare")
	h := labtest.NewHost(t, "server")
	labtest.MustRun(t, h, "", "env", takingClaim+"=1", "unshare", "--user", "--map-root-user", os.Args[0], "-test.run=^"+t.Name()+"$")
}

func TestACommandIsNamedWithoutItsArguments(t *testing.T) {
	for _, c := range []struct {
		words []string
		want  string
	}{
		{[]string{"knockd", "install", "mysql", "--try", "5m"}, "install --try"},
		{[]string{"/usr/sbin/knockd", "--config", "/tmp/x", "install", "--try=5m"}, "install --try"},
		{[]string{"knockd", GuardCommand}, "install --try"},
		{[]string{"knockd", "--config=/tmp/x", "grant", "mysql", "198.51.100.7"}, "grant"},
		{[]string{"knockd", "run"}, "run"},
		{[]string{"knockd", "--config"}, "knockd"},
		{[]string{"/usr/sbin/iptables-restore", "--noflush"}, "iptables-restore"},
	} {
		if got := command(c.words); got != c.want {
			t.Errorf("%q: %q, not %q", c.words, got, c.want)
		}
	}
	for want, h := range map[string]Owner{
		"process 812, install --try, 4m left": {PID: 812, Command: "install --try", Left: 4 * time.Minute},
		"process 812, grant":                  {PID: 812, Command: "grant"},
		"a process":                           {},
		"a process, 2s left":                  {Left: 2 * time.Second},
	} {
		if got := h.String(); got != want {
			t.Errorf("%q, not %q", got, want)
		}
	}
}
