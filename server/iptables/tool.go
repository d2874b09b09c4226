package iptables

import (
	"os"
	"regexp"
	"strconv"

	"knockkit/protocol"
	hosttool "knockkit/server/tool"
)

// command returns the name of a family's command: "ip6tables-save".
func command(f protocol.Family, suffix string) string {
	if f == protocol.IPv4 {
		return "iptables" + suffix
	}
	return "ip6tables" + suffix
}

// restoreCommand is how a text is committed: beside what is there, and waiting
// for whoever holds the tool's lock.
func restoreCommand(f protocol.Family) []string {
	return []string{command(f, "-restore"), "--noflush", "--wait"}
}

// host is a tool of iptables.
func host(name string, hold ...*os.File) hosttool.Tool {
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
