package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"knockkit/internal/command"
	"knockkit/internal/say"
)

// pace is the time for one step when a person watches.
const pace = 600 * time.Millisecond

// narrator prints the demo: numbered steps, the commands that are run, and what was checked. It goes
// slowly on a terminal.
type narrator struct {
	ctx                   context.Context // ends the pauses
	words                 *say.Printer
	steps, checks, failed int
}

// newNarrator prints the demo to w: to standard output, since it is the result of the command.
func newNarrator(ctx context.Context, w io.Writer) *narrator {
	return &narrator{ctx: ctx, words: say.To("knockd", w)}
}

func (n *narrator) step(title string) {
	if n.steps++; n.steps > 1 {
		n.pause()
		_ = say.Print(n.words.W, "")
	}
	n.words.Block(fmt.Sprintf("%d. %s", n.steps, title))
}

// tell writes lines below the step.
func (n *narrator) tell(format string, args ...any) {
	for line := range strings.Lines(fmt.Sprintf(format, args...)) {
		n.words.Block("     " + strings.TrimRight(line, "\n"))
	}
}

// shell shows a command as one would type it, and its output.
func (n *narrator) shell(prompt, line, output string) {
	n.words.Block("   " + prompt + " " + line)
	n.tell("%s", output)
}

// check prints whether something is as it should be, and remembers a failure.
func (n *narrator) check(ok bool, format string, args ...any) {
	mark := n.words.Good("✓")
	if n.checks++; !ok {
		n.failed++
		mark = n.words.Bad("✗")
	}
	n.words.Detail(" %s %s", mark, say.Text(format, args...))
	n.pauseFor(pace / 3)
}

func (n *narrator) end() error {
	n.pause()
	_ = say.Print(n.words.W, "")
	if n.failed > 0 {
		return &command.Error{Code: command.Failed, Err: errors.New(demoCount(n.failed, n.checks) + " not as it should be")}
	}
	n.words.Detail(" %s", n.words.Good(fmt.Sprintf("all %d checks are as they should be", n.checks)))
	n.words.Block("a profile of your own: knockd profile new NAME")
	return nil
}

func (n *narrator) pause() { n.pauseFor(pace) }

func (n *narrator) pauseFor(d time.Duration) {
	if !n.words.Terminal {
		return
	}
	select {
	case <-time.After(d):
	case <-n.ctx.Done():
	}
}

// peek is how to see what the kernel has: lines of shell, for the server.
type peek struct {
	all      string // every rule of the host
	position string // the rules for the position after the second knock
	leases   string // leases over IPv4
}

// peeks returns these lines, by the name of the backend.
func peeks() map[string]peek {
	return map[string]peek{
		"iptables": {
			all:      "iptables -S; ip6tables -S",
			position: "iptables -S KNOCKD-NEXT-mysql.2 | sed 's/ --mask [^ ]* --rsource//'", // too long to read
			leases:   "cat /proc/net/xt_recent/mysql.open.KNOCKD4",
		},
		"nftables": {
			all:      "nft list ruleset",
			position: "nft list map inet knockd edges4",
			leases:   "nft list set inet knockd open4-mysql",
		},
	}
}
