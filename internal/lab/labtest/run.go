//go:build linux

package labtest

import (
	"context"
	"net"
	"os/exec"
	"testing"
	"time"

	"knockkit/internal/lab"
)

// runTimeout ends a command of Run and MustRun that hangs. A build on a busy machine takes minutes.
const runTimeout = 5 * time.Minute

// Run runs a command on a host to its end. It fails the test only when the command
// cannot be started or takes longer than runTimeout.
func Run(t testing.TB, h *lab.Host, stdin, name string, args ...string) lab.Output {
	t.Helper()
	// Not t.Context: that one has ended when clean-up functions run commands.
	ctx, cancel := context.WithTimeout(context.Background(), runTimeout)
	defer cancel()
	out, err := h.Run(ctx, stdin, name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// MustRun runs a command on a host and returns what it wrote to stdout. An exit
// status other than 0 fails the test.
func MustRun(t testing.TB, h *lab.Host, stdin, name string, args ...string) string {
	t.Helper()
	out := Run(t, h, stdin, name, args...)
	if out.Code != 0 {
		t.Fatalf("%s: %s %q: exit status %d\n%s%s", h.Name, name, args, out.Code, out.Stdout, out.Stderr)
	}
	return out.Stdout
}

// Start starts a command on a host and kills it, if it still runs, when the test
// ends. The test may wait for it with the returned function, as often as it likes.
// Collect output with cmd.Stdout, not with StdoutPipe, which waiting closes.
func Start(t testing.TB, h *lab.Host, cmd *exec.Cmd) (wait func() error) {
	t.Helper()
	if cmd.WaitDelay == 0 {
		cmd.WaitDelay = time.Second // a grandchild may hold the pipes open
	}
	if err := h.Start(cmd); err != nil {
		t.Fatal(err)
	}
	var err error
	ended := make(chan struct{})
	go func() {
		err = cmd.Wait()
		close(ended)
	}()
	wait = func() error {
		<-ended
		return err
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // fails if it has ended already
		_ = wait()
	})
	return wait
}

// Listen opens a listening socket on a host until the test ends. Connections are
// completed by the kernel even if nobody accepts them.
func Listen(t testing.TB, h *lab.Host, network, address string) net.Listener {
	t.Helper()
	l, err := h.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// ListenPacket opens a datagram socket on a host until the test ends.
func ListenPacket(t testing.TB, h *lab.Host, network, address string) net.PacketConn {
	t.Helper()
	c, err := h.ListenPacket(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}
