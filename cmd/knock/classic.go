package main

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"knockkit/client"
	"knockkit/internal/command"
	"knockkit/protocol"
	"knockkit/protocol/format"
)

// The classic form is that of the knock program that comes with knockd:
//
//	knock HOST PORT[:tcp|udp] ...
//
// A port may also be written as in a profile, PORT/tcp.
// It knows of no profile and cannot check what opened.

// isClassic reports whether the arguments are of the classic form: two or more,
// of which the second looks like a port. No other form has such a second word; an address, which may
// begin like PORT:PROTOCOL, is a host in the wrong place.
func isClassic(args []string) bool {
	if len(args) < 2 || isPath(args[0]) {
		return false
	}
	if _, err := netip.ParseAddr(args[1]); err == nil {
		return false
	}
	number, _, _ := cutPort(args[1]) // a later word may name a service
	_, err := strconv.Atoi(number)
	return err == nil
}

// maxDelay is the longest delay in milliseconds, an hour: no server waits that long for a knock.
const maxDelay = 3600 * 1000

// classicTargets makes a profile of the arguments. Classic servers take a
// repeated knock for a wrong one, so each is sent exactly once.
func classicTargets(c *cli.Context) ([]client.Target, error) {
	for _, name := range []string{"profile", "host", "hosts-file", "close-after", "each"} {
		if c.IsSet(name) {
			return nil, command.Usagef("", "--%s goes with a profile, not with HOST PORT", name)
		}
	}
	if command.Rest(c) != nil {
		return nil, command.Usagef("nothing tells whether it opened: make a profile, or use &&", "a command goes with a profile, not with HOST PORT")
	}
	t, err := outgoing(c)
	if err != nil {
		return nil, err
	}
	p := &protocol.Profile{Name: c.Args().First(), Client: protocol.Client{Gap: protocol.DefaultGap, Attempts: 1}}
	if c.IsSet("delay") {
		delay := c.Int("delay")
		if delay < 0 || delay > maxDelay {
			return nil, command.Usagef(fmt.Sprintf("milliseconds between knocks, from 0 to %d", maxDelay), "bad delay %d", delay)
		}
		p.Client.Gap = time.Duration(delay) * time.Millisecond
	}
	for _, word := range c.Args().Tail() {
		k, err := classicKnock(word, c.Bool("udp"))
		if err != nil {
			return nil, err
		}
		p.Sequence = append(p.Sequence, protocol.Step{Knock: k})
	}
	t.Profile, t.Plain = p, true
	return forHosts(t, []string{p.Name})
}

// cutPort cuts PORT:PROTOCOL and PORT/PROTOCOL.
func cutPort(word string) (port, proto string, has bool) {
	if port, proto, has = strings.Cut(word, ":"); has {
		return port, proto, has
	}
	return strings.Cut(word, "/")
}

// classicKnock reads PORT[:tcp|udp]. --udp goes before what a port says, as in
// the program that this form is from.
func classicKnock(word string, udp bool) (protocol.Knock, error) {
	port, proto, has := cutPort(word)
	if !has || udp {
		proto = "tcp"
		if udp {
			proto = "udp"
		}
	}
	k, err := format.ParseKnock(port + "/" + proto)
	if err != nil {
		return k, command.Usagef("as 7000, 7000:tcp or 7000:udp", "bad port %q", word)
	}
	return k, nil
}

// onlyClassic refuses the flags that mean nothing with a profile.
func onlyClassic(c *cli.Context) error {
	for _, name := range []string{"udp", "delay"} {
		if c.IsSet(name) {
			return command.Usagef("the profile says which knocks go when; this flag is for knock HOST PORT...", "--%s goes with HOST PORT, not with a profile", name)
		}
	}
	return nil
}
