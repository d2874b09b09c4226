//go:build linux

package labtest

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
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

// Main runs a package's tests where hosts can be made: see [lab.Enter]. It does
// not return. Where that is impossible the tests run all the same, and those that
// need a host skip or fail.
//
// The second process has the arguments of the first, so -timeout bounds it too. What is
// to be done after the tests is given as functions.
func Main(m *testing.M, after ...func()) {
	entry, err := lab.Enter(context.Background())
	if err == nil && !entry.Here {
		os.Exit(entry.Code)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
	}
	code := m.Run()
	for _, f := range after {
		f()
	}
	os.Exit(code)
}

// Need skips the test unless hosts can be made and the named programs are there:
// "iptables-nft-restore", "nft", "mariadbd", … With CI=true it fails instead.
func Need(t testing.TB, tools ...string) {
	t.Helper()
	if err := lab.Usable(); err != nil {
		missing(t, "needs root or user namespaces, and labtest.Main in TestMain: %v", err)
	}
	for _, tool := range tools {
		if _, err := lab.FindTool(tool); err != nil {
			missing(t, "needs %v", err)
		}
	}
}

// NeedRoot skips the test unless it runs as the machine's own root: the root of a
// user namespace may not write to /proc/net/xt_recent. With CI=true it fails instead.
func NeedRoot(t testing.TB) {
	t.Helper()
	Need(t)
	if os.Geteuid() != 0 {
		missing(t, "needs root")
	}
	ids, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		t.Fatal(err)
	}
	// In the first user namespace, and nowhere else, all IDs stand for themselves.
	if strings.Join(strings.Fields(string(ids)), " ") != "0 0 4294967295" {
		missing(t, "needs root outside of a user namespace")
	}
}

// NeedTUN skips the test unless TUN devices can be made. With CI=true it fails
// instead. [Connect] and [Wire] call it.
func NeedTUN(t testing.TB) {
	t.Helper()
	Need(t)
	if err := lab.CanTUN(); err != nil {
		missing(t, "needs TUN devices (root, or /dev/net/tun open to all): %v", err)
	}
}

// missing ends the test: a skip in CI is a failure.
func missing(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}
