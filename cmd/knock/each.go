package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"knockkit/client"
	"knockkit/internal/command"
	"knockkit/internal/say"
)

func eachFlag() cli.Flag {
	return &cli.BoolFlag{Name: "each", Usage: "run the command once for every host that opened, one after another or -j N at once; {} in it is the host"}
}

// forHost returns a command line with the host in place of each {}.
func forHost(argv []string, host string) []string {
	replaced := make([]string, len(argv))
	for i, arg := range argv {
		replaced[i] = strings.ReplaceAll(arg, "{}", host)
	}
	return replaced
}

// each runs the command of --each for hosts as they open.
type each struct {
	c       *cli.Context
	words   *say.Printer
	waiting chan ready
	running sync.WaitGroup
	writing sync.Mutex // held while a line is written, where several commands run at once
	ctx     context.Context

	mu     sync.Mutex
	failed []error // of the hosts that opened
}

// ready is a host whose command is to be run.
type ready struct {
	outcome
	then *child
	at   time.Time
}

// newEach starts to run commands for at most n hosts. None is started any more after ctx ends.
func newEach(ctx context.Context, c *cli.Context, n int) *each {
	e := &each{c: c, words: printer(c), ctx: ctx, waiting: make(chan ready, n)}
	atOnce := 1
	if c.IsSet("jobs") {
		atOnce = c.Int("jobs")
	}
	for range min(atOnce, n) {
		e.running.Go(func() {
			for o := range e.waiting {
				e.run(o, atOnce > 1)
			}
		})
	}
	return e
}

// add lets a host's command run as soon as it may.
func (e *each) add(o outcome, then *child) { e.waiting <- ready{o, then, time.Now()} }

// end waits for the commands and returns what failed.
func (e *each) end() []error {
	close(e.waiting)
	e.running.Wait()
	return e.failed
}

// run runs the command for a host. Standard input would be the first command's alone: none gets it.
func (e *each) run(o ready, beside bool) {
	if e.ctx.Err() != nil {
		return
	}
	err := e.keep(&o)
	if err == nil {
		o.then.cmd.Stdin = nil
		if beside {
			err = o.then.byLine(&e.writing, o.target.Host+": ")
		} else {
			e.words.Note("%s: running %s", o.target.Host, o.then.cmd.Args[0])
		}
		if err == nil {
			err = o.then.run(e.ctx, e.c, o.outcome)
		}
		if exit := new(command.Error); errors.As(err, &exit) {
			err = &command.Error{Code: exit.Code, Err: fmt.Errorf("%s: %s ended with exit code %d", o.target.Host, o.then.cmd.Args[0], exit.Code)}
		}
	}
	if err == nil || e.ctx.Err() != nil { // the end by a signal is said once
		return
	}
	e.words.Error(named(o.outcome, err))
	e.mu.Lock()
	defer e.mu.Unlock()
	e.failed = append(e.failed, err)
}

// keep knocks again where the lease may be over before the host's turn came.
func (e *each) keep(o *ready) error {
	lease := o.target.Profile.Lease
	if lease == 0 || time.Since(o.at) < lease/2 {
		return nil
	}
	ctx, cancel := limited(e.c, e.ctx)
	defer cancel()
	o.result, o.err = client.Knock(ctx, o.target)
	remember(e.c, o.outcome, false)
	return explain(o.outcome)
}

// maxLine is the longest line that is written as a whole.
const maxLine = 64 << 10

// lineWriter writes whole lines, each after a prefix.
type lineWriter struct {
	mu     *sync.Mutex
	to     io.Writer
	prefix string
	rest   []byte
}

func (l *lineWriter) Write(p []byte) (int, error) {
	l.rest = append(l.rest, p...)
	end := bytes.LastIndexByte(l.rest, '\n') + 1
	if end == 0 && len(l.rest) < maxLine {
		return len(p), nil
	}
	if end == 0 {
		end = len(l.rest)
	}
	err := l.write(l.rest[:end])
	l.rest = append(l.rest[:0], l.rest[end:]...)
	return len(p), err
}

// flush writes a last line without an end, and ends it.
func (l *lineWriter) flush() {
	if len(l.rest) > 0 {
		_ = l.write(append(l.rest, '\n')) // there is nobody to tell
	}
}

func (l *lineWriter) write(text []byte) error {
	var b bytes.Buffer
	for line := range bytes.Lines(text) {
		b.WriteString(l.prefix)
		b.Write(line)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	_, err := l.to.Write(b.Bytes())
	return err
}
