package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"knockkit/internal/lab"
	"knockkit/internal/say"
	"knockkit/protocol"
)

// scene is one step of the demo. play returns an error only where the demo cannot go on; other
// failures are printed.
type scene struct {
	title string
	play  func(context.Context, *stage, *narrator) error
}

func demoScenes() []scene {
	return []scene{
		{"three machines on one network, and a MySQL that answers everybody", playBefore},
		{"a profile becomes rules in the kernel, and the port is closed", playInstall},
		{"the laptop knocks", playKnock},
		{"the stranger knocks in another order", playWrongOrder},
		{"the same over IPv6, which has tables of its own", playIPv6},
		{"the lease ends", playLease},
		{"all of it is removed", playRemove},
	}
}

func playBefore(ctx context.Context, s *stage, tell *narrator) error {
	for _, h := range []*lab.Host{s.server, s.laptop, s.stranger} {
		tell.tell("%s %s %s", say.Pad(h.Name, 9), say.Pad(h.Addr4.String(), 13), h.Addr6)
	}
	for _, h := range []*lab.Host{s.laptop, s.stranger} {
		tell.check(s.reads(ctx, h, protocol.IPv4), "MySQL greets the %s", h.Name)
	}
	var err error
	s.rules, err = s.onServer(ctx, s.peek.all)
	return err
}

func playInstall(ctx context.Context, s *stage, tell *narrator) error {
	tell.shell("server#", "cat mysql.toml", demoProfile)
	if err := s.install(ctx, demoProfile); err != nil {
		return err
	}
	tell.shell("server#", "knockd install mysql", "")
	for _, h := range []*lab.Host{s.laptop, s.stranger} {
		tell.check(s.silent(ctx, h, protocol.IPv4), "MySQL does not answer the %s any more", h.Name)
	}
	rules, err := s.onServer(ctx, s.peek.position)
	if err != nil {
		return err
	}
	tell.shell("server#", s.peek.position, rules)
	tell.check(strings.Contains(rules, " 8000 "), "the kernel knows what follows the second knock")
	return nil
}

func playKnock(ctx context.Context, s *stage, tell *narrator) error {
	if err := knockAndTell(ctx, s, tell, protocol.IPv4); err != nil {
		return err
	}
	tell.check(s.reads(ctx, s.laptop, protocol.IPv4), "MySQL greets the laptop: %q", greeting)
	tell.check(s.silent(ctx, s.stranger, protocol.IPv4), "the stranger stays out")
	leases, err := s.onServer(ctx, s.peek.leases)
	if err != nil {
		return err
	}
	tell.shell("server#", s.peek.leases, leases)
	tell.check(strings.Contains(leases, s.laptop.Addr4.String()+" ") && !strings.Contains(leases, s.stranger.Addr4.String()),
		"the kernel holds a lease of the laptop's, and none of the stranger's")
	return nil
}

// knockAndTell lets the laptop knock, over one family so that the other stays as it was.
func knockAndTell(ctx context.Context, s *stage, tell *narrator, f protocol.Family) error {
	r, err := s.knock(ctx, s.laptop, f, demoProfile)
	if err != nil {
		return err
	}
	flag := map[protocol.Family]string{protocol.IPv4: "-4", protocol.IPv6: "-6"}[f]
	tell.shell("laptop$", fmt.Sprintf("knock %s mysql@%s", flag, s.address(f)), strings.Join(r.Sent, " → "))
	if r.Problem != "" {
		tell.tell("%s", r.Problem)
	}
	tell.check(r.Opened, "%s open after %s", s.address(f), say.Latency(r.Took))
	return nil
}

func playWrongOrder(ctx context.Context, s *stage, tell *narrator) error {
	wrong := strings.Replace(demoProfile, `"echo/tcp", "8000/tcp"`, `"8000/tcp", "echo/tcp"`, 1)
	r, err := s.knock(ctx, s.stranger, protocol.IPv4, wrong)
	if err != nil {
		return err
	}
	tell.shell("stranger$", "knock -4 mysql@"+s.server.Addr4.String(), strings.Join(r.Sent, " → "))
	tell.tell("%s", r.Problem)
	tell.check(len(r.Sent) == 3 && !r.Opened, "it does not open")
	tell.check(s.silent(ctx, s.stranger, protocol.IPv4), "the stranger is still out")
	tell.check(s.reads(ctx, s.laptop, protocol.IPv4), "the laptop is still in")
	return nil
}

func playIPv6(ctx context.Context, s *stage, tell *narrator) error {
	tell.check(s.silent(ctx, s.laptop, protocol.IPv6), "the laptop has not knocked over IPv6, so MySQL does not answer there")
	if err := knockAndTell(ctx, s, tell, protocol.IPv6); err != nil {
		return err
	}
	tell.check(s.reads(ctx, s.laptop, protocol.IPv6), "MySQL greets the laptop over IPv6")
	tell.check(s.silent(ctx, s.stranger, protocol.IPv6), "the stranger stays out over IPv6 too")
	return nil
}

// shortLease is how old a lease may be at the end of the demo.
const shortLease = 2 * time.Second

func playLease(ctx context.Context, s *stage, tell *narrator) error {
	text := strings.Replace(demoProfile, `lease = "1h"`, fmt.Sprintf("lease = %q", say.Duration(shortLease)), 1)
	if err := s.install(ctx, text); err != nil {
		return err
	}
	tell.shell("server#", fmt.Sprintf(`sed -i 's/lease = "1h"/lease = "%s"/' mysql.toml && knockd install mysql`, say.Duration(shortLease)), "")
	for _, f := range protocol.Families() {
		tell.check(s.falls(ctx, s.laptop, f) == nil, "the laptop is shut out again over %s", f.Label())
	}
	return nil
}

// falls waits until a host is shut out.
func (s *stage) falls(ctx context.Context, from *lab.Host, f protocol.Family) error {
	for deadline := time.Now().Add(shortLease + patience); time.Now().Before(deadline) && ctx.Err() == nil; {
		if s.silent(ctx, from, f) {
			return nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	return errors.New("the lease has not ended")
}

func playRemove(ctx context.Context, s *stage, tell *narrator) error {
	if err := s.remove(ctx); err != nil {
		return err
	}
	tell.shell("server#", "knockd remove --all", "")
	rules, err := s.onServer(ctx, s.peek.all)
	if err != nil {
		return err
	}
	tell.shell("server#", s.peek.all, rules)
	tell.check(rules == s.rules, "the server's rules are as they were")
	return nil
}
