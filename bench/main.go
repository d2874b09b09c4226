//go:build linux

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"knockkit/bench/badnet"
	"knockkit/internal/lab"
	"knockkit/internal/say"
)

// bound is when a run is given up. A whole one takes about half of it.
const bound = 30 * time.Minute

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if code, isChild := badnet.Child(ctx); isChild {
		os.Exit(code)
	}
	if code, isChild := loadingChild(ctx); isChild {
		os.Exit(code)
	}
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	p := say.To("bench", os.Stderr)
	if err := run(ctx, p, os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		p.Error(err)
		os.Exit(1)
	}
}

func run(ctx context.Context, p *say.Printer, args []string) error {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	quick := flags.Bool("quick", false, "few and short rounds: to see that it works, not to quote")
	out := flags.String("o", "docs", "the folder that performance.md and performance/ are written to")
	only := flags.String("parts", "", "measure only these, as \"packets,commands\" (of: "+strings.Join(partNames(), ", ")+")")
	if err := flags.Parse(args); err != nil {
		return err
	}
	chosen, err := choose(*only)
	if err != nil {
		return err
	}
	if err := possible(); err != nil {
		return err
	}
	machine, err := readMachine(ctx)
	if err != nil {
		return err
	}
	b := &bench{Context: ctx, Printer: p, quick: *quick}
	page := &page{Machine: machine, Quick: *quick}
	for _, part := range chosen {
		p.Note("%s", part.name)
		start := time.Now()
		if err := part.measure(b, page); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
		p.Detail("took %s", time.Since(start).Round(time.Second))
	}
	if err := page.write(*out); err != nil {
		return err
	}
	for _, r := range page.ratios() {
		p.Note("%s", r)
	}
	return nil
}

// part is one chapter of the page.
type part struct {
	name    string
	measure func(*bench, *page) error
}

func parts() []part {
	return []part{
		{"packets", func(b *bench, p *page) (err error) { p.Packets, err = b.packets(); return err }},
		{"signed", func(b *bench, p *page) (err error) { p.Signed, p.Loading, err = b.signed(); return err }},
		{"opening", func(b *bench, p *page) (err error) { p.Opening, err = b.opening(); return err }},
		{"commands", func(b *bench, p *page) (err error) { p.Commands, err = b.commands(); return err }},
		{"flood", func(b *bench, p *page) (err error) { p.Floods, p.Knocks, err = b.floods(); return err }},
		{"networks", func(b *bench, p *page) (err error) { p.Networks, err = b.networks(); return err }},
		{"positions", func(b *bench, p *page) (err error) { p.Positions, err = b.positions(); return err }},
	}
}

func partNames() []string {
	var names []string
	for _, p := range parts() {
		names = append(names, p.name)
	}
	return names
}

func choose(only string) ([]part, error) {
	if only == "" {
		return parts(), nil
	}
	var chosen []part
	for name := range strings.SplitSeq(only, ",") {
		i := slices.Index(partNames(), name)
		if i < 0 {
			return nil, fmt.Errorf("there is no part %q (there are: %s)", name, strings.Join(partNames(), ", "))
		}
		chosen = append(chosen, parts()[i])
	}
	return chosen, nil
}

// possible says what is missing.
func possible() error {
	if os.Geteuid() != 0 {
		return errors.New("this needs root: it makes network namespaces and TUN devices, and runs daemons in them")
	}
	if err := lab.CanTUN(); err != nil {
		return err
	}
	for _, tool := range []string{"iptables", "iptables-restore", "nft"} {
		if _, err := lab.FindTool(tool); err != nil {
			return err
		}
	}
	return nil
}

// bench is one run.
type bench struct {
	context.Context
	*say.Printer
	quick bool
}

// rounds is how often each thing is measured.
func (b *bench) rounds(whole, quick int) int {
	if b.quick {
		return quick
	}
	return whole
}

// turns calls f for 0 to n-1, once a round, beginning with another one each time:
// so none always comes right after the same one.
func (b *bench) turns(rounds, n int, f func(round, i int) error) error {
	line := b.Line()
	defer line.Clear()
	for round := range rounds {
		for i := range n {
			line.Set(fmt.Sprintf("round %d of %d, %d of %d", round+1, rounds, i+1, n))
			if err := b.Err(); err != nil {
				return context.Cause(b)
			}
			if err := f(round, (round+i)%n); err != nil {
				return err
			}
		}
	}
	return nil
}
