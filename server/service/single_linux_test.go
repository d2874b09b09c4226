package service

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"knockkit/internal/kernel/claim"
	"knockkit/internal/lab/labtest"
)

// leavingClaim makes this test binary a service that ends while a tool has its claim.
const leavingClaim = "KNOCKD_TEST_LEAVES_ITS_CLAIM"

func TestTheClaimOfAServiceThatHasEndedIsFreeWhenItsToolLetsGo(t *testing.T) {
	if os.Getenv(leavingClaim) != "" {
		leaveClaim(t)
		return
	}
	labtest.NeedRoot(t)
	h := labtest.NewHost(t, "server")
	labtest.MustRun(t, h, "", "env", "GORACE=atexit_sleep_ms=0", leavingClaim+"=1", os.Args[0], "-test.run=^"+t.Name()+"$")
	if err := h.Do(func() error {
		if running, found := Running(); !found || running.Command != "sleep" {
			t.Errorf("nothing has the claim: the test proves nothing: %+v, %v", running, found)
		}
		one, err := claimService(t.Context())
		if err != nil {
			return err
		}
		return one.Close()
	}); err != nil {
		t.Error(err)
	}
}

// leaveClaim makes this process the service, and leaves that to a process that goes on for
// a moment.
func leaveClaim(t *testing.T) {
	one, err := claimService(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	tool := exec.Command("sleep", "0.4")
	tool.ExtraFiles = []*os.File{one.claim.File()}
	if err := tool.Start(); err != nil {
		t.Fatal(err)
	}
}

// TestWhoHasTheOldNameIsAServiceUnlessItIsAStranger: versions before were the service by an
// abstract Unix socket, which any user can bind.
func TestWhoHasTheOldNameIsAServiceUnlessItIsAStranger(t *testing.T) {
	labtest.NeedRoot(t)
	h := labtest.NewHost(t, "server")
	for _, c := range []struct {
		name    string
		user    uintptr
		service bool
	}{{"root", 0, true}, {"a stranger", 65534, false}} {
		t.Run(c.name, func(t *testing.T) {
			var old net.Listener
			if err := h.Do(func() (err error) {
				if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, c.user, c.user, c.user); errno != 0 { // of this thread only
					return errno
				}
				old, err = net.Listen("unix", claim.ServiceName)
				return err
			}); err != nil {
				t.Fatal(err)
			}
			defer old.Close()
			if err := h.Do(func() error {
				if pid, found := Running(); found != c.service || found && pid.PID != os.Getpid() {
					t.Errorf("found %v, %+v", found, pid)
				}
				began := time.Now()
				Nudge(t.Context())
				if took := time.Since(began); !c.service && took > nudgeLimit/4 {
					t.Errorf("a nudge waits for it: %s", took)
				}
				one, err := claimService(t.Context())
				if running := new(RunningError); c.service && (!errors.As(err, &running) || running.Owner.PID != os.Getpid()) {
					t.Errorf("beside it: %v", err)
				}
				if c.service {
					return nil
				}
				if err != nil {
					return err
				}
				return one.Close()
			}); err != nil {
				t.Error(err)
			}
		})
	}
}
