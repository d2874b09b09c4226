package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"knockkit/client"
	"knockkit/internal/command"
	"knockkit/internal/say"
	"knockkit/protocol"
)

// report prints how each host ended, when it ends, and a summary.
type report struct {
	c        *cli.Context
	words    *say.Printer
	all      int
	any      bool      // one of them is enough
	others   []outcome // with any: those that did not open, or not first
	line     *say.Line
	saying   sync.Mutex // held while something is printed
	waits    waits
	ended    int
	failed   []error
	commands []error // those of --each that failed
	last     outcome
	broken   error // writing to standard output failed
}

// newReport starts a report on the targets: of one, its knocks are shown as
// they go; of several, how many have ended.
func newReport(c *cli.Context, ts []client.Target) *report {
	r := &report{c: c, words: printer(c), all: len(ts), any: anyOne(c, ts)}
	if c.Bool("each") { // whose commands write to the terminal
		r.words.Terminal = false
	}
	r.line = r.words.Line()
	if r.all == 1 {
		ts[0].Observe = newProgress(ts[0].Profile, r.line, c.Bool("verbose")).observe
	} else {
		r.line.Set(r.progress())
	}
	for i := range ts {
		ts[i].Waits = func(until time.Time) { r.wait(ts[i], until) }
	}
	return r
}

// wait says that knocks wait.
func (r *report) wait(t client.Target, until time.Time) {
	r.saying.Lock()
	defer r.saying.Unlock()
	if r.waits.first(until) {
		r.line.Clear()
		r.words.Note("%s", waiting(t, until))
	}
}

// add reports one host.
func (r *report) add(o outcome) {
	r.saying.Lock()
	defer r.saying.Unlock()
	r.line.Clear()
	r.ended++
	r.last = o
	verbose := r.c.Bool("verbose")
	if r.c.Bool("json") {
		r.broken = errors.Join(r.broken, say.JSON(r.c.App.Writer, "", ofHost(o, verbose)))
	}
	if o.err == nil {
		r.words.Note("%s", r.opened(o))
	}
	if verbose {
		details(r.words, o)
	}
	if err := explain(o); err != nil {
		r.failed, r.others = append(r.failed, err), append(r.others, o)
		if r.all > 1 && !r.any && !errors.Is(err, context.Canceled) { // that one is said once
			r.words.Error(named(o, err))
		}
	}
	if r.all > 1 && r.ended < r.all {
		r.line = r.words.Line()
		r.line.Set(r.progress())
	}
}

// addLate takes a host that ended after another of any had opened.
func (r *report) addLate(o outcome) {
	r.saying.Lock()
	defer r.saying.Unlock()
	r.line.Clear()
	r.others = append(r.others, o)
	if r.c.Bool("verbose") {
		details(r.words, o)
	}
}

func (r *report) progress() string {
	return fmt.Sprintf("%d of %d hosts, %d did not open", r.ended, r.all, len(r.failed))
}

// named is the error of one of several hosts: without advice, which would be
// the same for a hundred of them, and always with the host.
func named(o outcome, err error) error {
	if strings.Contains(err.Error(), o.target.Host) {
		return err
	}
	return fmt.Errorf("%s: %w", o.target.Host, err)
}

// end sums up. interrupted is why the user ended it early, if so.
func (r *report) end(interrupted error) error {
	r.line.Clear()
	switch {
	case r.broken != nil:
		return r.broken
	case interrupted != nil:
		return interrupted
	case r.any:
		return r.endAny()
	case len(r.failed)+len(r.commands) == 0:
		if r.all > 1 {
			r.words.Note("%d of %d hosts opened", r.all, r.all)
		}
		return nil
	case r.all == 1 && len(r.failed) > 0:
		return r.failed[0]
	case r.all == 1: // it was said when it ended
		return &command.Error{Code: common(r.commands)}
	}
	e := &command.Error{Code: common(slices.Concat(r.failed, r.commands))}
	var what []string
	if n := len(r.failed); n > 0 {
		not := "did not open"
		if r.c.Command.Name == "close" {
			not = "were not sent the close knock"
		}
		what = append(what, fmt.Sprintf("%d of %d hosts %s", n, r.all, not))
		e.Hint = r.oneHost()
	}
	if n := len(r.commands); n > 0 {
		what = append(what, fmt.Sprintf("the command failed on %d of %d hosts", n, r.all))
	}
	e.Err = errors.New(strings.Join(what, ", "))
	return e
}

// endAny says what became of the hosts that did not open.
func (r *report) endAny() error {
	if r.last.err == nil {
		for _, o := range r.others {
			if late := new(client.UnfinishedError); o.err == nil {
				continue
			} else if errors.As(o.err, &late) {
				r.words.Warning("%s had not opened when %s did", o.target.Host, r.last.target.Host)
			} else {
				r.words.Warning("%s", named(o, explain(o)))
			}
		}
		if len(r.commands) > 0 { // it was said when it ended
			return &command.Error{Code: common(r.commands)}
		}
		return nil
	}
	for i, o := range r.others {
		r.words.Error(named(o, r.failed[i]))
	}
	return &command.Error{Code: ofAny(r.failed), Err: fmt.Errorf("none of %d hosts opened", r.all), Hint: r.oneHost()}
}

// oneHost is the hint for the reasons of one of several hosts.
func (r *report) oneHost() string {
	p, _ := choose(r.c)
	return "for one host with its reasons: knock " + p.with("HOST")
}

// opened is the line for a host that went well.
func (r *report) opened(o outcome) say.Painted {
	text := say.Text("%s", o.target.Profile.Name)
	if r.all > 1 {
		text += say.Text("@%s", o.target.Host)
	}
	return text + ": " + openedText(r.words, o)
}

// openedText says how each address ended, and how long the host is open for.
func openedText(words *say.Printer, o outcome) (text say.Painted) {
	for i, a := range o.result.Addrs {
		if i > 0 {
			text += ", "
		}
		paint := words.Bad
		if a.Outcome == client.Open || a.Outcome == client.Knocked {
			paint = words.Good
		}
		text += say.Text("%s %s after %s", a.Addr, paint(string(a.Outcome)), say.Latency(a.Took))
		if a.Attempts > 1 {
			text += say.Text(" and %d attempts", a.Attempts)
		}
	}
	if o.result.Outcome() == client.Open {
		text += say.Text(", %s", openFor(o.target.Profile))
	}
	return text
}

// openFor says how long a lease of the profile lasts.
func openFor(p *protocol.Profile) string {
	switch {
	case p.Lease == 0:
		return "open without an end"
	case p.Renew:
		return "open for " + lease(p.Lease) + " from the last connection on"
	}
	return "open for " + lease(p.Lease)
}

// details lists every packet: when it left, what came back after how long, and the end of each
// attempt.
func details(words *say.Printer, o outcome) {
	for _, a := range o.result.Addrs {
		words.Detail("%s", a.Addr)
		for i, p := range a.Packets {
			if p.Slot != 0 && (i == 0 || a.Packets[i-1].Attempt != p.Attempt) {
				words.Detail("  attempt %d  %s", p.Attempt, signedDetails(o.target, p.Slot))
			}
			what := p.Knock.String()
			if p.Check {
				what += " (check)"
			}
			words.Detail("  attempt %d  %s  %s  %s", p.Attempt, say.Pad("+"+say.Latency(p.Sent), 8), say.Pad(what, 17), back(p))
			if last := i == len(a.Packets)-1; last || a.Packets[i+1].Attempt != p.Attempt {
				words.Detail("  attempt %d  %s", p.Attempt, conclusion(a.Packets[:i+1], a.Outcome))
			}
		}
		if a.Err != nil {
			words.Detail("  %s", a.Err)
		}
	}
	if o.target.Key == nil {
		return
	}
	if err := unkept(o.target); err != nil {
		words.Note("which tokens were used is not kept for other knocks from here: %s", err)
	}
}

func back(p client.Packet) string {
	if p.Reply == client.NoReply {
		return string(p.Reply)
	}
	return string(p.Reply) + " after " + say.Latency(p.After)
}

// conclusion says what the last attempt of the packets came to: its checks tell,
// the best of them.
func conclusion(packets []client.Packet, outcome client.Outcome) string {
	attempt := packets[len(packets)-1].Attempt
	said := "not finished"
	if outcome == client.Knocked {
		said = "sent; nothing checks what came of it"
	}
	for _, p := range packets {
		switch {
		case p.Attempt != attempt || !p.Check:
		case p.Reply == client.Accepted:
			return "open"
		default:
			said = fmt.Sprintf("not open: %s %s", p.Knock, p.Reply)
		}
	}
	return said
}

// explain gives a host's error its exit code and the likeliest reasons. It is
// nil when there is none.
func explain(o outcome) error {
	if o.err == nil {
		return nil
	}
	if several, is := o.err.(interface{ Unwrap() []error }); is { // of any host
		var all []error
		for _, err := range several.Unwrap() {
			all = append(all, explain(outcome{o.target, o.result, err}))
		}
		return &command.Error{Code: ofAny(all), Err: errors.Join(all...)}
	}
	var notOpen *client.NotOpenError
	var privilege *client.PrivilegeError
	var profile *client.ProfileError
	var late *client.UnfinishedError
	switch err := o.err; {
	case errors.As(err, &notOpen):
		e := &command.Error{Code: command.NotOpen, Err: err, Hint: strings.Join(reasons(o.target.Profile, notOpen.Result), "\n")}
		if !slices.ContainsFunc(notOpen.Result.Addrs, func(a client.AddrResult) bool { return len(a.Packets) > 0 }) {
			e.Code = command.Failed // nothing has left this machine
		}
		return e
	case errors.As(err, &privilege):
		return &command.Error{Code: command.Privilege, Err: err, Hint: "allow it with: " + strings.Join(privilege.Commands, "\nor: ")}
	case errors.As(err, &profile):
		return &command.Error{Code: command.Usage, Err: err}
	case errors.As(err, &late) && errors.Is(err, context.DeadlineExceeded):
		e := &command.Error{Code: command.Failed, Err: fmt.Errorf("%s in the time of --timeout", late.Text)}
		if late.Checked {
			e.Code = command.NotOpen
		}
		return e
	case errors.Is(err, context.DeadlineExceeded): // of the connection of proxy, after the knock
		return &command.Error{Code: command.NotOpen, Err: fmt.Errorf("%s did not open in the time of --timeout", o.target.Host)}
	case errors.Is(err, context.Canceled):
		return err
	default:
		return &command.Error{Code: command.Failed, Err: err}
	}
}

// ofAny returns the exit code where none of several hosts opened, of which one was enough: NotOpen where one was
// knocked on to the end.
func ofAny(failed []error) int {
	for _, err := range failed {
		if e := new(command.Error); errors.As(err, &e) && e.Code == command.NotOpen {
			return command.NotOpen
		}
	}
	return common(failed)
}

// common returns the exit code of several failures: theirs if all have the same, else Failed.
func common(failed []error) int {
	code := -1
	for _, err := range failed {
		e := &command.Error{Code: command.Failed}
		errors.As(err, &e)
		if code != -1 && code != e.Code {
			return command.Failed
		}
		code = e.Code
	}
	return code
}
