package tool

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"knockkit/internal/lab/labtest"
)

// feeding names the folder in which this test binary feeds a tool, until it is killed.
const feeding = "KNOCKD_TEST_FEEDS_A_TOOL"

const size = 1 << 20 // far more than a pipe holds

// TestAToolReadsAllOfItsTextWhenWeAreKilled: half of a transaction is another one.
func TestAToolReadsAllOfItsTextWhenWeAreKilled(t *testing.T) {
	if dir := os.Getenv(feeding); dir != "" {
		script := fmt.Sprintf("cd %s; : > started; while [ ! -e killed ]; do sleep 0.01; done; wc -c > count; mv count counted", dir)
		_, err := Tool{Name: "sh"}.Run(t.Context(), strings.Repeat("x", size), "-c", script)
		t.Fatal("it was not killed", err)
	}
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), feeding+"="+dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	const soon = 10 * time.Second
	labtest.Eventually(t, soon, func() error { _, err := os.Stat(filepath.Join(dir, "started")); return err })
	if err := cmd.Process.Signal(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	if err := os.WriteFile(filepath.Join(dir, "killed"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	labtest.Eventually(t, soon, func() error {
		text, err := os.ReadFile(filepath.Join(dir, "counted"))
		if err == nil && strings.TrimSpace(string(text)) != fmt.Sprint(size) {
			t.Fatalf("the tool read %s bytes of %d", strings.TrimSpace(string(text)), size)
		}
		return err
	})
}
