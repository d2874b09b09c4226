//go:build linux

package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// Output is what a finished command left behind. Code is its exit status, -1 when
// a signal ended it.
type Output struct {
	Stdout, Stderr string
	Code           int
}

// Start starts a command inside the host. The rest of cmd is used as always:
// Wait, Process, pipes. SysProcAttr.Pdeathsig is refused, because the thread that
// starts the command ends at once and the signal would follow.
func (h *Host) Start(cmd *exec.Cmd) error {
	if cmd.SysProcAttr != nil && cmd.SysProcAttr.Pdeathsig != 0 {
		return fmt.Errorf("start %s on %s: Pdeathsig cannot be used here", cmd.Path, h.Name)
	}
	return h.Do(cmd.Start)
}

// Run runs a command inside the host to its end, with stdin as its input. A
// command that fails is no error: see Output.Code. An error says that it could not
// be started, or that ctx ended it.
func (h *Host) Run(ctx context.Context, stdin, name string, args ...string) (Output, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.WaitDelay = time.Second // a grandchild may hold the pipes open
	if err := h.Start(cmd); err != nil {
		return Output{Code: -1}, err
	}
	err := cmd.Wait()
	out := Output{Stdout: stdout.String(), Stderr: stderr.String(), Code: cmd.ProcessState.ExitCode()}
	var exit *exec.ExitError
	if ctx.Err() != nil {
		return out, fmt.Errorf("run %s on %s: %w", name, h.Name, context.Cause(ctx))
	}
	if err != nil && !errors.As(err, &exit) {
		return out, fmt.Errorf("run %s on %s: %w", name, h.Name, err)
	}
	return out, nil
}
