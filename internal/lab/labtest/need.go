//go:build linux

package labtest

import (
	"os"
	"strings"
	"testing"

	"knockkit/internal/lab"
)

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
