package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"knockkit/client"
	"knockkit/internal/command"
	"knockkit/internal/say"
	"knockkit/protocol/format"
)

// closeTimeout is how long giving the lease back may delay the exit.
const closeTimeout = 3 * time.Second

// child is the command after "--".
type child struct {
	cmd     *exec.Cmd
	outputs []*output // of byLine
}

func newChild(argv []string) (*child, error) {
	if strings.Contains(argv[0], format.LinkBegin) {
		return nil, command.Usagef("\"knock enroll\" alone asks for it, and shows it nowhere", "the command is a profile's link")
	}
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return nil, command.Usagef("", "cannot run %s: %w", argv[0], errors.Unwrap(err))
	}
	cmd := exec.Command(path)
	cmd.Args = argv
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return &child{cmd: cmd}, nil
}

// byLine lets the command write whole lines only, each after the prefix, while mu is held.
func (ch *child) byLine(mu *sync.Mutex, prefix string) error {
	for _, to := range []*os.File{os.Stdout, os.Stderr} {
		o, err := newOutput(&lineWriter{mu: mu, to: to, prefix: say.Plain(prefix)})
		if err != nil {
			ch.closeOutputs()
			return err
		}
		ch.outputs = append(ch.outputs, o)
	}
	ch.cmd.Stdout, ch.cmd.Stderr = ch.outputs[0].w, ch.outputs[1].w
	return nil
}

// closeOutputs closes this process's ends of what the command writes to.
func (ch *child) closeOutputs() {
	for _, o := range ch.outputs {
		o.w.Close()
	}
}

// run runs the command where the host opened and returns its exit code as an
// error. With --close-after it gives the lease back afterwards, also when the
// command failed or was ended by a signal. ctx ends the waiting for what it left running.
func (ch *child) run(ctx context.Context, c *cli.Context, o outcome) error {
	ch.cmd.Env = append(os.Environ(), "KNOCK_ADDR="+o.result.Addr().String(), "KNOCK_HOST="+o.target.Host)
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, forwarded()...)
	defer signal.Stop(signals)
	err := ch.cmd.Start()
	ch.closeOutputs()
	defer finish(ctx, ch.outputs)
	if err != nil {
		return fmt.Errorf("run %s: %w", ch.cmd.Args[0], err)
	}
	ended := make(chan struct{})
	go forward(ch.cmd.Process, signals, ended)
	err = ch.cmd.Wait()
	close(ended)
	if c.Bool("close-after") {
		closeAfter(c, o)
	}
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		return &command.Error{Code: exitCode(exit.ProcessState)}
	}
	if err != nil {
		return fmt.Errorf("run %s: %w", ch.cmd.Args[0], err)
	}
	return nil
}

// forward passes signals on until the command has ended. Its process group is
// ours: what a terminal sends reaches the command by itself.
func forward(p *os.Process, signals <-chan os.Signal, ended <-chan struct{}) {
	for {
		select {
		case s := <-signals:
			if !sentByTerminal(s) {
				_ = p.Signal(s) // it may have ended already
			}
		case <-ended:
			return
		}
	}
}

// closeAfter closes every address that opened. The command has done its work:
// a failure is worth a warning, not another exit code.
func closeAfter(c *cli.Context, o outcome) {
	ctx, cancel := context.WithTimeout(c.Context, closeTimeout)
	defer cancel()
	words := printer(c)
	for _, a := range o.result.Addrs {
		if a.Outcome != client.Open && a.Outcome != client.Knocked {
			continue
		}
		t := o.target
		t.Host, t.Observe = a.Addr.String(), nil
		if _, err := client.Close(ctx, t); err != nil {
			words.Warning("the lease was not given back: %s", err)
			continue
		}
		remember(c, outcome{o.target, client.Result{Addrs: []client.AddrResult{a}}, nil}, true)
		words.Note("%s: sent the close knock to %s", t.Profile.Name, a.Addr)
	}
}
