package nftables

import (
	"context"
	"os"
	"regexp"
	"strconv"
	"strings"

	"knockkit/server/tool"
)

// command is how a text is committed.
const command = "nft -f -"

// run calls nft, which keeps the files in hold open.
func run(ctx context.Context, stdin string, hold []*os.File, args ...string) error {
	_, err := tool.Tool{Name: "nft", Package: "nftables", Hold: hold, Said: said}.Run(ctx, stdin, args...)
	return err
}

// feed commits a text, if there is one.
func feed(ctx context.Context, text string, hold []*os.File) error {
	if text == "" {
		return nil
	}
	return run(ctx, text, hold, "-f", "-")
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
