package iptables

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"

	"knockkit/protocol"
	"knockkit/server/backend"
)

// tool runs the host's own iptables-save and -restore of one family.
type tool struct {
	family protocol.Family
	hold   *os.File // kept open while the tool runs; may be nil
}

func (t tool) name(suffix string) string {
	if t.family == protocol.IPv4 {
		return "iptables" + suffix
	}
	return "ip6tables" + suffix
}

// save reads what is installed.
func (t tool) save(ctx context.Context) (*Saved, error) {
	out, err := run(ctx, t.hold, "", t.name("-save"))
	if err != nil {
		return nil, err
	}
	return ParseSave(t.family, out)
}

// restoreCommand is how a text is committed: beside what is there, and waiting
// for whoever holds the tool's lock.
func (t tool) restoreCommand() []string {
	return []string{t.name("-restore"), "--noflush", "--wait"}
}

// commit runs one transaction. Either all of it is done or nothing.
func (t tool) commit(ctx context.Context, text string) error {
	if text == "" {
		return nil
	}
	cmd := t.restoreCommand()
	_, err := run(ctx, t.hold, text, cmd[0], cmd[1:]...)
	return err
}

// run calls a tool of the host. The context is not passed on once a transaction
// has been handed over: killing the tool would not tell whether it was done.
func run(ctx context.Context, hold *os.File, stdin, name string, args ...string) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	if hold != nil {
		cmd.ExtraFiles = []*os.File{hold}
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return stdout.String(), nil
	case errors.Is(err, exec.ErrNotFound):
		return "", fmt.Errorf("%s is not installed (Debian: apt install iptables): %w", name, backend.ErrUnsupported)
	case errors.As(err, &exit):
		return "", toolError(name, stderr.String(), stdin)
	}
	return "", fmt.Errorf("%s: %w", name, err)
}

var lineNumber = regexp.MustCompile(`line:? (\d+)`)

// toolError says what the tool said, and the line of our text that it means.
func toolError(name, stderr, stdin string) error {
	said := strings.TrimSpace(stderr)
	if os.Geteuid() != 0 || strings.Contains(said, "Permission denied") || strings.Contains(said, "Operation not permitted") {
		return fmt.Errorf("%s: %w", name, backend.ErrPrivilege)
	}
	e := &backend.ToolError{Tool: name, Output: strings.Join(strings.Fields(said), " ")}
	if m := lineNumber.FindStringSubmatch(said); m != nil {
		lines := strings.Split(stdin, "\n")
		if n, err := strconv.Atoi(m[1]); err == nil && n >= 1 && n <= len(lines) {
			e.Line = lines[n-1]
		}
	}
	return e
}
