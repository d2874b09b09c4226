package nftables

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

	"knockkit/server/backend"
)

// run calls nft. The context is not passed on once a transaction has been handed
// over: killing the tool would not tell whether it was done.
func (b *Backend) run(ctx context.Context, stdin string, args ...string) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	cmd := exec.Command("nft", args...)
	cmd.Stdin = strings.NewReader(stdin)
	if b.hold != nil {
		cmd.ExtraFiles = []*os.File{b.hold}
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return stdout.String(), nil
	case errors.Is(err, exec.ErrNotFound):
		return "", fmt.Errorf("nft is not installed (Debian: apt install nftables): %w", backend.ErrUnsupported)
	case errors.As(err, &exit):
		return "", toolError(stderr.String(), stdin)
	}
	return "", fmt.Errorf("nft: %w", err)
}

// place is how nft names the place of an error: "/dev/stdin:12:3-9: Error: …".
var place = regexp.MustCompile(`(?m)^\S*?:(\d+):\d+(?:-\d+)?: Error: (.*)$`)

// toolError says what nft said first, and the line of our text that it means.
func toolError(stderr, stdin string) error {
	if os.Geteuid() != 0 || strings.Contains(stderr, "Operation not permitted") {
		return fmt.Errorf("nft: %w", backend.ErrPrivilege)
	}
	e := &backend.ToolError{Tool: "nft", Output: strings.Join(strings.Fields(stderr), " ")}
	m := place.FindStringSubmatch(stderr)
	if m == nil {
		return e
	}
	e.Output = m[2]
	lines := strings.Split(stdin, "\n")
	if n, err := strconv.Atoi(m[1]); err == nil && n >= 1 && n <= len(lines) {
		e.Line = strings.TrimSpace(lines[n-1])
	}
	return e
}

// list reads the table. No table is no error.
func (b *Backend) list(ctx context.Context) (*Listing, error) {
	text, err := b.run(ctx, "", "-j", "list", "table", "inet", TableName)
	if tool := new(backend.ToolError); errors.As(err, &tool) {
		switch {
		case strings.Contains(tool.Output, "No such file or directory"):
			return &Listing{}, nil
		case strings.Contains(tool.Output, "JSON"):
			return nil, fmt.Errorf("nft cannot print JSON (it was built without libjansson; Debian's and Fedora's packages have it): %w: %w", err, backend.ErrUnsupported)
		}
	}
	if err != nil {
		return nil, err
	}
	return ParseListing(text)
}
