//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"time"

	"knockkit/bench/stage"
	"knockkit/internal/lab"
	"knockkit/protocol"
)

// opener is one way to open a port, which is compared with the others.
type opener struct {
	name      string
	program   string // that must be there; "": one of ours
	open      func(ctx context.Context, c *stage.Cable, p *protocol.Profile) (*running, error)
	strangers func(p *protocol.Profile, to netip.Addr) [][]byte // strangers' packets that the opener has to process
}

// running is an opener that runs on a cable.
type running struct {
	*opener
	*stage.Cable
	visit  stage.Visit
	daemon *stage.Daemon // nil: the kernel alone
	signed *signedGate   // nil: not signed
	result *openingTime
	took   []float64 // milliseconds of each visit
}

// Close ends the daemon, the service and the hosts.
func (s *running) Close() error {
	var err error
	if s.daemon != nil {
		err = s.daemon.Stop()
	}
	if s.signed != nil {
		err = s.signed.service.Stop()
	}
	return errors.Join(err, s.Cable.Close())
}

// The names of other projects' programs.
const (
	debianKnockd = "Debian's knockd"
	fwknop       = "fwknopd"
)

func openers() []*opener {
	return []*opener{
		ours(stage.IPTables, "iptables"),
		ours(stage.NFTables, "nftables"),
		{name: stage.SignedRules, strangers: randomTokens, open: openSigned},
		{name: debianKnockd, program: stage.Knockd, strangers: stage.FirstKnocks,
			open: func(ctx context.Context, c *stage.Cable, p *protocol.Profile) (*running, error) {
				d, err := stage.StartKnockd(ctx, c.Host, p)
				return &running{daemon: d, visit: stage.Visit{Knocks: stage.Sequence(p)}}, err
			}},
		{name: fwknop, program: "fwknopd", strangers: notForUs,
			open: func(ctx context.Context, c *stage.Cable, p *protocol.Profile) (*running, error) {
				f, err := stage.StartFwknopd(ctx, c.Host, p)
				if err != nil {
					return nil, err
				}
				return &running{daemon: f.Daemon, visit: stage.Visit{Knocks: f.Packet}}, nil
			}},
	}
}

func ours(name, backend string) *opener {
	return &opener{name: name, strangers: stage.FirstKnocks,
		open: func(ctx context.Context, c *stage.Cable, p *protocol.Profile) (*running, error) {
			err := stage.ApplyOurs(ctx, c.Host, backend, []*protocol.Profile{p})
			return &running{visit: stage.Visit{Knocks: stage.Sequence(p)}}, err
		}}
}

// notForUs are datagrams to fwknopd's port that are nobody's.
func notForUs(_ *protocol.Profile, to netip.Addr) [][]byte {
	payload := make([]byte, 225) // as long as one that is right
	for i := range payload {
		payload[i] = 'A' + byte(i%26)
	}
	packets := make([][]byte, stage.Forged)
	for i := range packets {
		from := netip.AddrPortFrom(lab.ForgedAddr4(i), uint16(20_000+i%40_000))
		packets[i] = lab.UDP(from, netip.AddrPortFrom(to, stage.FwknopPort), payload)
	}
	return packets
}

// missing reports whether the machine lacks the program.
func (d *opener) missing() bool {
	if d.program == "" {
		return false
	}
	_, err := exec.LookPath(d.program)
	return err != nil
}

// warmUps is how many visits an opener gets to open for the first time.
const warmUps = 3

// start runs the opener on a cable of its own, for a profile, and sees to it that it
// opens at all. The caller closes it.
func (d *opener) start(ctx context.Context, p *protocol.Profile) (s *running, err error) {
	c, err := stage.NewCable(d.name, p.Open[0].First)
	if err != nil {
		return nil, err
	}
	if s, err = d.open(ctx, c, p); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", d.name, err), c.Close())
	}
	s.opener, s.Cable = d, c
	s.visit.Gap, s.visit.Every, s.visit.Within = 10*time.Millisecond, 500*time.Microsecond, 2*time.Second
	// A daemon that captures packets may not be ready yet.
	ok := false
	for range warmUps {
		if _, ok, err = s.visitOnce(ctx); ok || err != nil {
			break
		}
	}
	if err == nil && !ok {
		err = fmt.Errorf("%s does not open", d.name)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *running) visitOnce(ctx context.Context) (time.Duration, bool, error) {
	v, err := s.Visitor()
	if err != nil {
		return 0, false, err
	}
	return v.Visit(ctx, s.visit)
}
