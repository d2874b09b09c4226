package iptables

import (
	"context"
	"os"
	"regexp"
	"strconv"

	"knockkit/protocol"
	hosttool "knockkit/server/tool"
)

// tool runs the host's own iptables-save and -restore of one family.
type tool struct {
	family protocol.Family
	hold   []*os.File // kept open while the tool runs
}

func (t tool) name(suffix string) string {
	if t.family == protocol.IPv4 {
		return "iptables" + suffix
	}
	return "ip6tables" + suffix
}

// save reads what is installed.
func (t tool) save(ctx context.Context) (*Saved, error) {
	out, err := host(t.name("-save"), t.hold).Run(ctx, "")
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
func (t tool) commit(ctx context.Context, text string) error { return t.restore(ctx, text) }

// try says what the tool would refuse, and changes nothing. The kernel is not asked.
func (t tool) try(ctx context.Context, text string) error { return t.restore(ctx, text, "--test") }

func (t tool) restore(ctx context.Context, text string, more ...string) error {
	if text == "" {
		return nil
	}
	cmd := append(t.restoreCommand(), more...)
	_, err := host(cmd[0], t.hold).Run(ctx, text, cmd[1:]...)
	return err
}

// host is a tool of iptables.
func host(name string, hold []*os.File) hosttool.Tool {
	return hosttool.Tool{Name: name, Package: "iptables", Hold: hold, Said: said}
}

var lineNumber = regexp.MustCompile(`line:? (\d+)`)

// said finds the line in "iptables-restore: line 12 failed".
func said(stderr string) (what string, line int) {
	if m := lineNumber.FindStringSubmatch(stderr); m != nil {
		line, _ = strconv.Atoi(m[1]) // digits; none too large is a line
	}
	return stderr, line
}
