package nftables

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"knockkit/internal/kernel/backend"
	"knockkit/internal/kernel/tool"
	"knockkit/protocol"
)

// command is how a text is committed.
const command = "nft -f -"

// runNft commits a text, or does with it what the flags say. It does nothing for "". nft inherits
// the files.
func runNft(ctx context.Context, text string, inherit []*os.File, flags ...string) error {
	if text == "" {
		return nil
	}
	_, err := tool.Tool{Name: "nft", Package: "nftables", Inherit: inherit, ParseError: toolError}.Run(ctx, text, append(flags, "-f", "-")...)
	return err
}

// errorLine is how nft names the line of an error: "/dev/stdin:12:3-9: Error: …".
var errorLine = regexp.MustCompile(`(?m)^\S*?:(\d+):\d+(?:-\d+)?: Error: (.*)$`)

// toolError reads the first error that nft gives a line for: the message, and the line of our text.
func toolError(stderr string) (what string, line int) {
	m := errorLine.FindStringSubmatch(stderr)
	if m == nil {
		return stderr, 0
	}
	line, _ = strconv.Atoi(m[1])                                  // a number that is too large is no line
	if strings.HasSuffix(m[2], "Too many open files in system") { // ENFILE, of the kernel
		return "the set is full: it takes no new address until another one expires", line
	}
	return m[2], line
}

// need is something that the rules use: in words, and as a table that uses nothing else.
type need struct{ what, text string }

// needs are tried one by one when all of them together fail. The versions are those in which the
// kernel and nft first had it, by their change logs.
var needs = [...]need{
	{"tables of family inet (Linux 3.14)", "chain c { type filter hook input priority -10; };"},
	{"conntrack matches (nf_conntrack, nft_ct)", "chain c { ct state established ct status assured return; };"},
	{"routing look-ups (nft_fib_inet, Linux 4.10)", "chain c { fib daddr type != local return; };"},
	{"rejecting in family inet (nft_reject_inet)", "chain c { reject with icmpx type port-unreachable; };"},
	{"named limits (Linux 4.14 and nft 0.8)", "limit l { rate 9/second burst 9 packets; }; chain c { limit name \"l\" return; };"},
	{"sets with time-outs that packets fill and empty (Linux 5.3 and nft 0.9.1)", "set s { type ipv4_addr; size 9; flags dynamic,timeout; }; chain c { update @s { ip saddr timeout 1s } delete @s { ip saddr }; };"},
	{"typeof and keys of several fields (Linux 5.6 and nft 0.9.4)", "map m { typeof meta priority . meta l4proto . th dport : verdict; }; chain c { meta priority . meta l4proto . th dport vmap @m; };"},
	{"maps that packets fill (Linux 5.3 and nft 0.9.4)", "map m { typeof ip saddr : meta priority; size 9; flags dynamic,timeout; }; chain c { delete @m { ip saddr : none } update @m { ip saddr timeout 1s : 0:2 }; meta priority set ip saddr map @m; };"},
}

// rejectBeforeNAT is needed by profiles whose gate before destination NAT answers.
var rejectBeforeNAT = need{"rejecting before routing (Linux 5.9)",
	"chain c { type filter hook prerouting priority mangle; reject with icmpx type port-unreachable; };"}

// signedNeed is what signed profiles need.
var signedNeed = need{"raw payload as a key, and limits in sets, which signed profiles need (nft 1.0.2)",
	"map t { typeof @th,64,128 : meta priority; size 9; flags dynamic,timeout; }; set s { typeof @th,64,128; flags dynamic,timeout; }; " +
		"chain c { meta priority set @th,64,128 map @t add @s { @th,64,128 timeout 5m limit rate 1/day burst 1 packets } delete @t { @th,64,128 : none }; };"}

// capable returns an error in words where the kernel or nft lacks something that the rules need.
// Nothing is changed: nft only checks the texts.
func capable(ctx context.Context, want backend.Want, inherit []*os.File) error {
	needs := slices.Clone(needs[:])
	answers := func(p *protocol.Profile) bool { return beforeNAT(p) && (p.Closed == protocol.ClosedReject || p.Cut) }
	profiles := slices.Concat(want.Of(protocol.IPv4).Profiles, want.Of(protocol.IPv6).Profiles)
	if slices.ContainsFunc(profiles, answers) {
		needs = append(needs, rejectBeforeNAT)
	}
	if slices.ContainsFunc(profiles, (*protocol.Profile).IsSigned) {
		needs = append(needs, signedNeed)
	}
	texts := make([]string, len(needs))
	for i, n := range needs {
		texts[i] = fmt.Sprintf("table inet knockd_probe%d { %s }\n", i, n.text)
	}
	check := func(text string) (refused bool, err error) {
		err = runNft(ctx, text, inherit, "-c")
		return errors.As(err, new(*backend.ToolError)), err
	}
	if refused, err := check(strings.Join(texts, "")); !refused {
		return err
	}
	var lacking []string
	for i, n := range needs {
		switch refused, err := check(texts[i]); {
		case refused:
			lacking = append(lacking, n.what)
		case err != nil:
			return err
		}
	}
	if len(lacking) == 0 {
		return nil
	}
	return backend.Unsupported("this kernel or its nft lacks: %s; use a newer kernel and nftables package, or backend = \"iptables\"",
		strings.Join(lacking, "; "))
}
