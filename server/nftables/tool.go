package nftables

import (
	"context"
	"errors"
	"regexp"
	"strconv"
	"strings"

	"knockkit/server/backend"
	"knockkit/server/tool"
)

// run calls nft.
func (b *Backend) run(ctx context.Context, stdin string, args ...string) (string, error) {
	return tool.Tool{Name: "nft", Package: "nftables", Hold: b.hold, Said: said}.Run(ctx, stdin, args...)
}

// place is how nft names the place of an error: "/dev/stdin:12:3-9: Error: …".
var place = regexp.MustCompile(`(?m)^\S*?:(\d+):\d+(?:-\d+)?: Error: (.*)$`)

// noRoom is how nft words what the kernel says of a set that is full (ENFILE).
const noRoom = "Too many open files in system"

// said finds the first error that nft names a place for.
func said(stderr string) (what string, line int) {
	m := place.FindStringSubmatch(stderr)
	if m == nil {
		return stderr, 0
	}
	line, _ = strconv.Atoi(m[1]) // digits; none too large is a line
	if strings.HasSuffix(m[2], noRoom) {
		return "the set is full, and takes no new address until the time of another is over", line
	}
	return m[2], line
}

// list reads the table. No table is no error.
func (b *Backend) list(ctx context.Context) (*Listing, error) {
	text, err := b.listText(ctx)
	if err != nil {
		return nil, err
	}
	return ParseListing(text)
}

// listText returns the table as JSON, "" where there is none.
func (b *Backend) listText(ctx context.Context) (string, error) {
	text, err := b.run(ctx, "", "-j", "list", "table", "inet", TableName)
	if tool := new(backend.ToolError); errors.As(err, &tool) {
		switch {
		case strings.Contains(tool.Output, "No such file or directory"):
			return "", nil
		case strings.Contains(tool.Output, "JSON"):
			return "", backend.Unsupported("nft cannot print JSON (it was built without libjansson; Debian's and Fedora's packages have it): %w", err)
		}
	}
	return text, err
}
