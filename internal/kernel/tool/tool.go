// Package tool runs the host's own tools of the packet filter: iptables-save, iptables-restore and nft.
// It gives them texts, and turns their messages into errors of package backend. It knows no rules.
package tool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"

	"knockkit/internal/kernel/backend"
)

// Tool is a program of the host.
type Tool struct {
	Name    string
	Package string     // Debian's package that has it
	Inherit []*os.File // files that the tool inherits

	// ParseError reads the tool's output: the message, and the line of our text that it names,
	// from 1; 0: none.
	ParseError func(stderr string) (what string, line int)
}

// Run calls the tool and returns what it prints.
//
// Errors: [backend.ErrUnsupported] where the tool is not installed,
// [backend.ErrPrivilege], a [*backend.ToolError], the context's.
func (t Tool) Run(ctx context.Context, stdin string, args ...string) (string, error) {
	wait, err := t.Start(ctx, stdin, args...)
	if err != nil {
		return "", err
	}
	return wait()
}

// Start is Run that does not wait: the caller does, with the function that it returns. A tool that
// reads a text is not ended with the context, since then nobody would know whether it was done.
func (t Tool) Start(ctx context.Context, stdin string, args ...string) (wait func() (string, error), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, t.Name, args...)
	if stdin != "" {
		cmd = exec.Command(t.Name, args...)
		text, err := inMemory(stdin)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", t.Name, err)
		}
		defer text.Close() // the tool has it
		cmd.Stdin = text
	}
	cmd.ExtraFiles = t.Inherit
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); errors.Is(err, exec.ErrNotFound) {
		return nil, backend.Unsupported("%s is not installed (Debian: apt install %s)", t.Name, t.Package)
	} else if err != nil {
		return nil, fmt.Errorf("%s: %w", t.Name, err)
	}
	return func() (string, error) {
		err := cmd.Wait()
		var exit *exec.ExitError
		switch {
		case err == nil:
			return stdout.String(), nil
		case stdin == "" && ctx.Err() != nil:
			return "", ctx.Err()
		case errors.As(err, &exit):
			return "", t.refused(stderr.String(), stdin)
		}
		return "", fmt.Errorf("%s: %w", t.Name, err)
	}, nil
}

// inMemory returns a file with a text. From a pipe, a tool would take a part for the whole when we
// are killed while we write, and nft would commit that part.
func inMemory(text string) (*os.File, error) {
	fd, err := unix.MemfdCreate("stdin", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "stdin")
	if _, err := f.WriteString(text); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// refused returns the error in a tool's output, with the line of our text that it names.
func (t Tool) refused(stderr, stdin string) error {
	if os.Geteuid() != 0 || strings.Contains(stderr, "Permission denied") || strings.Contains(stderr, "Operation not permitted") {
		return fmt.Errorf("%s: %w", t.Name, backend.ErrPrivilege)
	}
	what, n := t.ParseError(stderr)
	e := &backend.ToolError{Tool: t.Name, Output: strings.Join(strings.Fields(what), " ")}
	if lines := strings.Split(stdin, "\n"); n >= 1 && n <= len(lines) {
		e.Line = strings.TrimSpace(lines[n-1])
	}
	return e
}
