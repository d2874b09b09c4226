package main

import (
	"context"
	"os/signal"
	"syscall"

	"github.com/urfave/cli/v2"
	"golang.org/x/sync/errgroup"

	"knockkit/client"
	"knockkit/internal/command"
)

// atOnce is how many hosts are knocked on at the same time.
const atOnce = 16

func knockAction(c *cli.Context) error {
	ts, err := targets(c)
	if err != nil {
		return err
	}
	then, err := commandAfter(c, ts)
	if err != nil {
		return err
	}
	for i := range ts {
		ts[i].NoVerify = c.Bool("no-verify")
	}
	ctx, stop := interruptible(c.Context)
	outcomes := all(ctx, c, ts, client.Knock)
	stop()
	if err := report(c, outcomes); err != nil || then == nil {
		return err
	}
	return then.run(c, outcomes[0])
}

func closeAction(c *cli.Context) error {
	ts, err := targets(c)
	if err != nil {
		return err
	}
	ctx, stop := interruptible(c.Context)
	defer stop()
	return report(c, all(ctx, c, ts, client.Close))
}

// An outcome is what became of one host.
type outcome struct {
	target client.Target
	result client.Result
	err    error
}

// all visits the hosts, several at once, and returns their outcomes in order.
func all(ctx context.Context, c *cli.Context, ts []client.Target,
	do func(context.Context, client.Target) (client.Result, error)) []outcome {
	outcomes := make([]outcome, len(ts))
	line := printer(c).Line()
	defer line.Clear()
	if len(ts) == 1 {
		ts[0].Observe = newProgress(ts[0].Profile, line).observe
	}
	var group errgroup.Group
	group.SetLimit(atOnce)
	for i, t := range ts {
		group.Go(func() error {
			result, err := do(ctx, t)
			outcomes[i] = outcome{t, result, err}
			return nil
		})
	}
	_ = group.Wait() // every error is in its outcome
	return outcomes
}

// interruptible ends the context on the signals that ask a program to end.
func interruptible(ctx context.Context) (context.Context, context.CancelFunc) {
	return signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
}

// commandAfter returns the command after "--" with everything that can be
// wrong with it checked: after the knock it would be too late. It is nil when
// there is none.
func commandAfter(c *cli.Context, ts []client.Target) (*child, error) {
	argv := command.Rest(c)
	switch {
	case argv == nil && c.Bool("close-after"):
		return nil, command.Usagef("knock close "+c.Args().First()+" gives a lease back now", "--close-after needs a command after --")
	case argv == nil:
		return nil, nil
	case len(argv) == 0:
		return nil, command.Usagef("", "a command is missing after --")
	case c.Bool("json"):
		return nil, command.Usagef("", "--json and a command both want standard output")
	case len(ts) > 1:
		return nil, command.Usagef("choose one: knock "+ts[0].Profile.Name+"@"+ts[0].Host+" -- ...", "a command needs one host, not %d", len(ts))
	case c.Bool("close-after") && ts[0].Profile.Close == nil:
		return nil, command.Usagef("set `close` in the profile, here and on the server", "profile %s has no `close` knock", ts[0].Profile.Name)
	}
	return newChild(argv)
}
