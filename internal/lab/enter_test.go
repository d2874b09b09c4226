//go:build linux

package lab_test

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"knockkit/internal/lab/labtest"
)

// nobody is a user and group without any privilege.
const nobody = 65534

func TestWithoutRootTheTestsRunInAUserNamespace(t *testing.T) {
	labtest.NeedRoot(t) // to become somebody else
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/proc/self/exe", "-test.v", "-test.timeout=50s",
		"-test.run=^(TestHostsOnANetworkReachEachOther|TestPingSocketsWork|TestEachFlavourOfIptablesIsItself|TestARootOfAUserNamespaceIsNotRoot)$")
	cmd.Env = append(os.Environ(), "CI=false", inUserNamespace+"=1")
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	if strings.Contains(string(out), "this machine") && os.Getenv("CI") != "true" {
		t.Skipf("no user namespaces here:\n%s", out)
	}
	if err != nil || strings.Count(string(out), "\n--- PASS") != 4 {
		t.Errorf("%v, want 4 tests to pass:\n%s", err, out)
	}
}

// inUserNamespace is set for the process that the test above starts.
const inUserNamespace = "KNOCKKIT_LAB_TEST_USERNS"

func TestARootOfAUserNamespaceIsNotRoot(t *testing.T) {
	if os.Getenv(inUserNamespace) == "" {
		return // the test above runs this one
	}
	if os.Geteuid() != 0 {
		t.Errorf("user is %d, want 0", os.Geteuid())
	}
	t.Run("and is told so", func(t *testing.T) {
		skipped := false
		t.Run("inner", func(t *testing.T) {
			defer func() { skipped = t.Skipped() }()
			labtest.NeedRoot(t)
		})
		if !skipped {
			t.Error("NeedRoot goes on")
		}
	})
}
