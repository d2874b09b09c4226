package service

import (
	"net"
	"os"
	"os/exec"
	"testing"

	"knockkit/internal/lab/labtest"
)

// leavingName makes this test binary a service that ends while a tool has its name.
const leavingName = "KNOCKD_TEST_LEAVES_ITS_NAME"

func TestTheNameOfAServiceThatHasEndedIsFreeWhenItsToolLetsGo(t *testing.T) {
	if os.Getenv(leavingName) != "" {
		leaveName(t)
		return
	}
	labtest.NeedRoot(t)
	h := labtest.NewHost(t, "server")
	labtest.MustRun(t, h, "", "env", "GORACE=atexit_sleep_ms=0", leavingName+"=1", os.Args[0], "-test.run=^"+t.Name()+"$")
	if err := h.Do(func() error {
		if pid := Running(t.Context()); pid == 0 {
			t.Error("nothing has the name: the test proves nothing")
		}
		l, err := beTheOne(t.Context())
		if err != nil {
			return err
		}
		return l.Close()
	}); err != nil {
		t.Error(err)
	}
}

// leaveName takes the name and leaves it to a process that goes on for a moment.
func leaveName(t *testing.T) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: socketName})
	if err != nil {
		t.Fatal(err)
	}
	f, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	tool := exec.Command("sleep", "0.4")
	tool.ExtraFiles = []*os.File{f}
	if err := tool.Start(); err != nil {
		t.Fatal(err)
	}
}
