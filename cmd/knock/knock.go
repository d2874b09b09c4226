package main

import (
	"context"
	"errors"
	"syscall"

	"github.com/urfave/cli/v2"

	"knockkit/client"
	"knockkit/internal/command"
)

func knockAction(c *cli.Context) error {
	if isClassic(c.Args().Slice()) {
		ts, err := classicTargets(c)
		if err != nil {
			return err
		}
		return visit(c, ts, client.Knock, nil)
	}
	p, ts, err := wanted(c)
	if err == nil {
		err = onlyClassic(c)
	}
	if err != nil {
		return err
	}
	then, err := commandAfter(c, p, ts)
	if err != nil {
		return err
	}
	for i := range ts {
		ts[i].NoVerify = c.Bool("no-verify")
	}
	return visit(c, ts, client.Knock, then)
}

func closeAction(c *cli.Context) error {
	_, ts, err := wanted(c)
	if err == nil {
		err = hasClose(ts)
	}
	if err != nil {
		return err
	}
	return visit(c, ts, client.Close, nil)
}

// An outcome is the result for one host.
type outcome struct {
	target client.Target
	result client.Result
	err    error
}

// told reports whether every address was asked to the end.
func (o outcome) told() bool {
	var notOpen *client.NotOpenError
	return o.err == nil || errors.As(o.err, &notOpen)
}

// visit goes to the hosts, many at once, reports each as it ends, and runs the
// command if there is one: of --each, one for every target.
func visit(c *cli.Context, ts []client.Target, do func(context.Context, client.Target) (client.Result, error), then []*child) error {
	atOnce := c.Int("jobs")
	if atOnce < 1 {
		return command.Usagef("", "-j needs a number above 0, not %d", atOnce)
	}
	interrupt, stop := interruptible(c.Context)
	defer stop()
	ctx, cancel := limited(c, interrupt)
	defer cancel()
	r := newReport(c, ts)
	commands := newEach(interrupt, c, len(then))
	ended := func(i int, result client.Result, err error, late bool) {
		o := outcome{ts[i], result, err}
		remember(c, o, c.Command.Name == "close")
		if late {
			r.addLate(o)
			return
		}
		r.add(o)
		if c.Bool("each") && err == nil {
			commands.add(o, then[i])
		}
	}
	if anyOne(c, ts) {
		client.Any(ctx, ts, do, ended)
	} else {
		client.Many(ctx, ts, atOnce, do, func(i int, result client.Result, err error) { ended(i, result, err, false) })
	}
	r.commands = commands.end()
	if err := r.end(context.Cause(interrupt)); err != nil || then == nil || c.Bool("each") {
		return err
	}
	stop() // from here on signals are the command's
	return then[0].run(c.Context, c, r.last)
}

// hasClose refuses a profile without a closing knock.
func hasClose(ts []client.Target) error {
	if p := ts[0].Profile; p.Close == nil {
		return command.Usagef("set `close` in the profile, here and on the server; there, knockd revoke ends the lease", "profile %s has no `close` knock", p.Name)
	}
	return nil
}

// limited ends the context after --timeout.
func limited(c *cli.Context, ctx context.Context) (context.Context, context.CancelFunc) {
	if d := command.TimeOf(c, "timeout"); d > 0 {
		return context.WithTimeout(ctx, d)
	}
	return context.WithCancel(ctx)
}

// interruptible ends the context on the signals that ask a program to end.
func interruptible(ctx context.Context) (context.Context, context.CancelFunc) {
	return command.Interruptible(ctx, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
}

// commandAfter returns the command after "--" with everything that can be
// wrong with it checked: after the knock it would be too late. It is nil when
// there is none, and has one for each target with --each.
func commandAfter(c *cli.Context, p chosen, ts []client.Target) ([]*child, error) {
	argv, each := command.Rest(c), c.Bool("each")
	switch {
	case argv == nil && each:
		return nil, command.Usagef("as knock "+p.again()+" --each -- ssh {} uptime", "--each needs a command after --")
	case argv == nil && c.Bool("close-after"):
		return nil, command.Usagef("knock close "+p.again()+" gives a lease back now", "--close-after needs a command after --")
	case argv == nil:
		return nil, nil
	case len(argv) == 0:
		return nil, command.Usagef("", "a command is missing after --")
	case c.Bool("json"):
		return nil, command.Usagef("", "--json and a command both want standard output")
	case len(ts) > 1 && !each && !anyOne(c, ts):
		return nil, command.Usagef("choose one: knock "+p.with(ts[0].Host)+" -- ...\nor run it for each of them: --each", "a command needs one host, not %d", len(ts))
	case c.Bool("close-after"):
		if err := hasClose(ts); err != nil {
			return nil, err
		}
	}
	var all []*child
	for _, t := range ts {
		line := argv
		if each {
			line = forHost(argv, t.Host)
		}
		ch, err := newChild(line)
		if err != nil {
			return nil, err
		}
		all = append(all, ch)
	}
	return all, nil
}
