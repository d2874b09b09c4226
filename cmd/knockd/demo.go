package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"knockkit/client"
	"knockkit/internal/command"
	"knockkit/internal/lab"
	"knockkit/internal/say"
	"knockkit/protocol"
	"knockkit/protocol/format"
	"knockkit/server"
)

// demoLimit bounds the demo: nobody watches longer, and nothing in it takes long.
const demoLimit = 20 * time.Second

func demoCommand() *cli.Command {
	return &cli.Command{
		Name:  "demo",
		Usage: "show a knock open a closed port, in a throw-away sandbox",
		Description: `Makes three machines out of network namespaces, installs a profile on one of them
with the code of "knockd install", and knocks from another with the code of "knock".
This machine's own rules are neither used nor changed, and nothing is left behind.

Needs iptables or nft, and root or user namespaces. Takes up to 20 seconds; the exit
code is 1 when anything is not as it should be.

Example:
  knockd demo
  knockd demo --backend nftables`,
		Flags:  []cli.Flag{&cli.StringFlag{Name: "backend", Usage: "show backend `B`: auto, iptables or nftables", Value: "auto"}},
		Action: runDemo,
	}
}

func runDemo(c *cli.Context) error {
	if b := c.String("backend"); !slices.Contains(server.Backends(), b) {
		return command.Usagef("one of "+strings.Join(server.Backends(), ", "), "there is no backend %q", b)
	}
	entry, err := lab.Enter(c.Context)
	if err != nil {
		return &command.Error{Code: command.Privilege, Err: err, Hint: namespaceHint(readSysctl)}
	}
	if !entry.Here {
		if entry.Code == command.Done {
			return nil
		}
		return &command.Error{Code: entry.Code} // it has said why
	}
	ctx, cancel := context.WithTimeoutCause(c.Context, demoLimit, fmt.Errorf("the demo took longer than %s", say.Duration(demoLimit)))
	defer cancel()
	return playDemo(ctx, c.String("backend"), newNarrator(ctx, c.App.Writer))
}

func playDemo(ctx context.Context, backend string, tell *narrator) error {
	s, err := newStage(ctx, backend)
	if err != nil {
		return explainError(err)
	}
	defer s.close()
	for _, scene := range demoScenes() {
		tell.step(scene.title)
		err := scene.play(ctx, s, tell)
		if ctx.Err() != nil {
			return context.Cause(ctx) // later failures follow from this
		}
		if err != nil {
			return explainError(err)
		}
	}
	return tell.end()
}

// namespaceHint says which setting forbids user namespaces, as far as it can be read.
func namespaceHint(get func(name string) string) string {
	hints := []string{"run it as root: sudo knockd demo"}
	for _, s := range []struct{ name, forbids, allow string }{
		{"kernel/unprivileged_userns_clone", "0", "1"},
		{"kernel/apparmor_restrict_unprivileged_userns", "1", "0"},
		{"user/max_user_namespaces", "0", "1000"},
	} {
		if get(s.name) == s.forbids {
			hints = append(hints, fmt.Sprintf("or allow user namespaces: sudo sysctl %s=%s", strings.ReplaceAll(s.name, "/", "."), s.allow))
		}
	}
	return strings.Join(hints, "\n")
}

func readSysctl(name string) string {
	text, err := os.ReadFile("/proc/sys/" + name)
	if err != nil {
		return "" // not on this kernel
	}
	return strings.TrimSpace(string(text))
}

func demoCount(failed, checks int) string {
	verb := "are"
	if failed == 1 {
		verb = "is"
	}
	return fmt.Sprintf("%d of %d things %s", failed, checks, verb)
}

// knockCommandName is the hidden command by which the demo runs this program
// inside one of its machines. The client uses many threads, and only a process
// of its own is inside with all of them.
const knockCommandName = "demo-knock"

// knockOrder is the input of the process in the machine.
type knockOrder struct {
	Profile string // the file's text
	Host    string
}

// knockReport is the output of the process in the machine.
type knockReport struct {
	Opened  bool
	Sent    []string // the first attempt's knocks, in order
	Took    time.Duration
	Problem string // why it did not open
}

func demoKnockCommand() *cli.Command {
	return &cli.Command{
		Name:   knockCommandName,
		Usage:  "knock from inside a machine of the demo (used by demo)",
		Hidden: true,
		Action: func(c *cli.Context) error {
			var order knockOrder
			if err := json.NewDecoder(c.App.Reader).Decode(&order); err != nil {
				return fmt.Errorf("read the order: %w", err)
			}
			report, err := carryOut(c.Context, order)
			if err != nil {
				return err
			}
			return say.JSON(c.App.Writer, "", report)
		},
	}
}

// carryOut knocks once: the demo's network loses nothing.
func carryOut(ctx context.Context, order knockOrder) (knockReport, error) {
	p, diagnostics := format.ParseProfile("mysql.toml", []byte(order.Profile))
	if diagnostics.HasErrors() {
		return knockReport{}, diagnostics
	}
	p.Client.Attempts = 1
	result, err := client.Knock(ctx, client.Target{Profile: p, Host: order.Host})
	var notOpen *client.NotOpenError
	if err != nil && !errors.As(err, &notOpen) {
		return knockReport{}, err
	}
	r := knockReport{Opened: result.Outcome() == client.Open}
	if err != nil {
		r.Problem = err.Error()
	}
	for _, a := range result.Addrs {
		r.Took = a.Took
		for _, packet := range a.Packets {
			if !packet.Check {
				r.Sent = append(r.Sent, packet.Knock.String())
			}
		}
	}
	return r, nil
}

// knock lets a machine of the demo knock on the server.
func (s *stage) knock(ctx context.Context, from *lab.Host, f protocol.Family, profile string) (knockReport, error) {
	order, err := json.Marshal(knockOrder{profile, s.address(f).String()})
	if err != nil {
		return knockReport{}, err
	}
	out, err := from.Run(ctx, string(order), "/proc/self/exe", knockCommandName)
	if err != nil {
		return knockReport{}, err
	}
	if out.Code != 0 {
		return knockReport{}, fmt.Errorf("knocking from the %s: %s", from, strings.TrimSpace(out.Stderr))
	}
	var r knockReport
	if err := json.Unmarshal([]byte(out.Stdout), &r); err != nil {
		return knockReport{}, fmt.Errorf("the client's report: %w", err)
	}
	return r, nil
}
