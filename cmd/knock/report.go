package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"knockkit/client"
	"knockkit/internal/command"
	"knockkit/internal/say"
)

// report says how the hosts ended and returns the error that they amount to.
func report(c *cli.Context, outcomes []outcome) error {
	words := printer(c)
	var failed []error
	for _, o := range outcomes {
		if c.Bool("json") {
			if err := writeJSON(c.App.Writer, o, c.Bool("verbose")); err != nil {
				return err
			}
		}
		if o.err == nil {
			words.Note("%s", opened(words, o))
		}
		if c.Bool("verbose") {
			details(words, o.result)
		}
		if o.err != nil {
			failed = append(failed, explain(o))
		}
	}
	switch {
	case len(failed) == 0:
		return nil
	case len(outcomes) == 1:
		return failed[0]
	}
	for _, err := range failed {
		command.Report(words, err)
	}
	return &command.Error{Code: worst(failed), Err: fmt.Errorf("%d of %d hosts did not open", len(failed), len(outcomes))}
}

// opened is the line for a host that went well.
func opened(words *say.Printer, o outcome) string {
	var parts []string
	for _, a := range o.result.Addrs {
		state := string(a.State)
		switch a.State {
		case client.Open, client.Knocked:
			state = words.Good(state)
		default:
			state = words.Bad(state)
		}
		text := fmt.Sprintf("%s %s after %s", a.Addr, state, say.Latency(a.Took))
		if a.Attempts > 1 {
			text += fmt.Sprintf(" and %d attempts", a.Attempts)
		}
		parts = append(parts, text)
	}
	return o.target.Profile.Name + ": " + strings.Join(parts, ", ")
}

// details lists every packet: when it left, what came back after how long.
func details(words *say.Printer, r client.Result) {
	for _, a := range r.Addrs {
		words.Detail("%s", a.Addr)
		for _, p := range a.Packets {
			what := p.Knock.String()
			if p.Check {
				what += " (check)"
			}
			back := string(p.Reply)
			if p.Reply != client.NoReply {
				back += " after " + say.Latency(p.After)
			}
			words.Detail("  attempt %d  %s  %s  %s", p.Attempt, say.Pad("+"+say.Latency(p.Sent), 8), say.Pad(what, 17), back)
		}
		if a.Err != nil {
			words.Detail("  %s", a.Err)
		}
	}
}

// explain gives a host's error its exit code and the likeliest reasons.
func explain(o outcome) error {
	var notOpen *client.NotOpenError
	var privilege *client.PrivilegeError
	var profile *client.ProfileError
	switch err := o.err; {
	case errors.As(err, &notOpen):
		reasons := client.Reasons(o.target.Profile, notOpen.Result)
		return &command.Error{Code: command.NotOpen, Err: err, Hint: strings.Join(reasons, "\n")}
	case errors.As(err, &privilege):
		return &command.Error{Code: command.Privilege, Err: err, Hint: "allow it with: " + strings.Join(privilege.Commands, "\nor: ")}
	case errors.As(err, &profile):
		return &command.Error{Code: command.Usage, Err: err}
	case errors.Is(err, context.Canceled):
		return err
	default:
		return &command.Error{Code: command.Failed, Err: err}
	}
}

// worst returns the code for several hosts: NotOpen when any did not open,
// unless all failed for one reason, as a missing privilege.
func worst(failed []error) int {
	code := -1
	for _, err := range failed {
		e := &command.Error{Code: command.Failed}
		errors.As(err, &e)
		if code != -1 && code != e.Code {
			return command.NotOpen
		}
		code = e.Code
	}
	return code
}
