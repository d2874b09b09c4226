package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"knockkit/client"
	"knockkit/internal/lab"
	"knockkit/internal/say"
	"knockkit/protocol"
)

// knockCommandName is the hidden command by which the demo runs this program
// inside one of its machines. The client uses many threads, and only a process
// of its own is inside with all of them.
const knockCommandName = "demo-knock"

// knockOrder is what the process in the machine is told, on its standard input.
type knockOrder struct {
	Profile string // the file's text
	Host    string
}

// knockReport is what it answers, on its standard output.
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
	p, diagnostics := protocol.ParseProfile("mysql.toml", []byte(order.Profile))
	if diagnostics.HasErrors() {
		return knockReport{}, diagnostics
	}
	p.Client.Attempts = 1
	result, err := client.Knock(ctx, client.Target{Profile: p, Host: order.Host})
	var notOpen *client.NotOpenError
	if err != nil && !errors.As(err, &notOpen) {
		return knockReport{}, err
	}
	r := knockReport{Opened: result.State() == client.Open}
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
