//go:build unix

package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// knockThen starts "knock open -- sh -c script", with more flags, and returns it with the
// command's standard output, after its first line: then it is running.
func knockThen(t *testing.T, script string, flags ...string) (*exec.Cmd, *bufio.Reader) {
	t.Helper()
	l, err := listen()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "profiles"), 0o700); err != nil {
		t.Fatal(err)
	}
	profile := fmt.Sprintf("host = \"127.0.0.1\"\nsequence = [\"9/udp\"]\nopen = [\"%s/tcp\"]\n", port(l))
	if err := os.WriteFile(filepath.Join(dir, "profiles", "open.toml"), []byte(profile), 0o600); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := &exec.Cmd{Path: self, Args: append(append([]string{"knock", "-q", "--config", dir, "open"}, flags...), "--", "sh", "-c", script)}
	// Away from a terminal of whoever runs the tests: a SIGINT is then meant for
	// knock alone, which has to pass it on.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	r := bufio.NewReader(out)
	if line, err := r.ReadString('\n'); line != "ready\n" {
		t.Fatalf("the command said %q, error %v", line, err)
	}
	return cmd, r
}

func TestSignalsReachTheCommandAndItsExitCodeComesBack(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT} {
		t.Run(s.String(), func(t *testing.T) {
			t.Parallel()
			// The inner loop ends by itself should no signal ever come.
			cmd, out := knockThen(t, `trap 'echo trapped; exit 7' TERM HUP INT; echo ready; i=0; while [ $i -lt 200 ]; do sleep 0.05; i=$((i+1)); done`)
			if err := cmd.Process.Signal(s); err != nil {
				t.Fatal(err)
			}
			rest, err := io.ReadAll(out)
			if err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			if code := cmd.ProcessState.ExitCode(); code != 7 || string(rest) != "trapped\n" {
				t.Errorf("exit %d after %q, want 7 after the trap", code, rest)
			}
		})
	}
}

func TestASignalReachesTheCommandOfOneHostAndKeepsThoseOfOthersFromStarting(t *testing.T) {
	for _, c := range []struct {
		name string
		end  string // how the command takes the signal
	}{{"a command that ends by it", "exit 7"}, {"a command that goes on", "true"}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			script := `trap 'echo trapped; ` + c.end + `; n=200' TERM; echo ready; n=0; while [ $n -lt 200 ]; do sleep 0.05; n=$((n+1)); done`
			cmd, out := knockThen(t, script, "--each", "--host", "127.0.0.1", "--host", "localhost", "-4")
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			rest, err := io.ReadAll(out)
			if err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			if code := cmd.ProcessState.ExitCode(); code != 128+int(syscall.SIGTERM) || string(rest) != "trapped\n" {
				t.Errorf("exit %d after %q, want 143 after one trap", code, rest)
			}
		})
	}
}

func TestACommandKilledByASignalExitsAsAShellReportsIt(t *testing.T) {
	cmd, _ := knockThen(t, `echo ready; kill -KILL $$`)
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 128+int(syscall.SIGKILL) {
		t.Errorf("exit %d, want %d", code, 128+int(syscall.SIGKILL))
	}
}
