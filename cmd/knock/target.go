package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"unicode"

	"github.com/urfave/cli/v2"

	"knockkit/client"
	"knockkit/internal/command"
	"knockkit/internal/config"
	"knockkit/internal/files"
	"knockkit/internal/say"
)

// wanted reads the arguments of a command that takes a profile alone.
func wanted(c *cli.Context) (chosen, []client.Target, error) {
	stray, dashed := command.Stray(c)
	switch {
	case noProfile(c) && c.NumFlags() == 0 && command.Rest(c) == nil && c.Command.Name == c.App.Name:
		return chosen{}, nil, command.Help(c)
	case noProfile(c):
		return chosen{}, nil, command.NoArgument(c)
	case stray != nil:
		return chosen{}, nil, strayError(c, stray, dashed)
	}
	p, rest := choose(c)
	if len(rest) > 0 {
		hint := "usage: " + c.Command.UsageText
		if p.typed == "" {
			hint = "the profile is that of --profile; another host is --host HOST"
		}
		return p, nil, command.Usagef(hint, "unexpected argument %q", rest[0])
	}
	ts, err := targets(c, p, "")
	return p, ts, err
}

// strayError says that what follows a profile needs two dashes in front of it, or is a host;
// or that no profile but a command was meant.
func strayError(c *cli.Context, stray []string, dashed string) error {
	p, _ := choose(c)
	if f, err := folders(c, os.Getenv); err == nil && (otherWord(p.name, stray) != "" || closestCommand(c, p.name) != nil) {
		_, err = f.Load(p.name)
		if unknown := new(config.UnknownProfileError); errors.As(err, &unknown) {
			return unknownProfile(c, unknown, p.typed, stray)
		}
	}
	hint := "a command goes after two dashes: " + dashed
	if _, err := netip.ParseAddr(stray[0]); len(stray) == 1 && (err == nil || strings.Contains(stray[0], ".")) {
		hint += "\nfor another host: knock " + p.with(stray[0])
	}
	return command.Usagef(hint, "unexpected argument %q", stray[0])
}

// targets loads the profile and reads the flags: one target for each host, at
// least one. instead, if not "", is the host instead of all others.
func targets(c *cli.Context, p chosen, instead string) ([]client.Target, error) {
	t, err := outgoing(c)
	if err != nil {
		return nil, err
	}
	file := c.String("hosts-file")
	if p.stdin() && isStdin(file) {
		return nil, command.Usagef("", "the profile and the hosts cannot both come from standard input")
	}
	entry, err := p.load(c)
	if err != nil {
		return nil, err
	}
	hosts := c.StringSlice("host")
	if p.at {
		hosts = append([]string{p.host}, hosts...)
	}
	if file != "" {
		listed, err := readHosts(c.Context, file)
		if err != nil {
			return nil, err
		}
		hosts = append(hosts, listed...)
	}
	switch {
	case instead != "":
		hosts = []string{instead}
	case len(hosts) == 0:
		hosts = entry.Profile.Hosts
	}
	t.Profile = entry.Profile
	if named := instead != "" || p.at || c.IsSet("host") || file != ""; named && t.Profile.AnyHost { // those are all meant
		p := *t.Profile
		p.AnyHost, t.Profile = false, &p
	}
	if len(hosts) == 0 {
		return nil, command.Usagef("say which: knock "+p.with("HOST")+", or set `host` in "+entry.File, "profile %s has no host", entry.Name)
	}
	if err := sign(c, &t, p, entry); err != nil {
		return nil, err
	}
	ts, err := forHosts(t, hosts)
	if t.Profile.AnyHost {
		rand.Shuffle(len(ts), func(i, j int) { ts[i], ts[j] = ts[j], ts[i] })
	}
	return ts, err
}

// anyOne reports whether one target that opens is enough. To give a lease back all are told: which of them has
// taken it up, nothing can tell.
func anyOne(c *cli.Context, ts []client.Target) bool {
	return len(ts) > 1 && ts[0].Profile.AnyHost && c.Command.Name != "close"
}

// forHosts returns the target for each host. It drops hosts that were named twice, in whatever way:
// two sequences to one host at the same time would disturb each other.
func forHosts(t client.Target, hosts []string) ([]client.Target, error) {
	var ts []client.Target
	seen := map[string]bool{}
	for _, host := range hosts {
		bare, err := bareHost(host)
		if err != nil {
			return nil, err
		}
		key := client.CanonicalHost(bare)
		if seen[key] {
			continue
		}
		seen[key] = true
		t.Host = bare
		ts = append(ts, t)
	}
	return ts, nil
}

// notInHost reports whether no name, address or interface has the character. A shell would act on
// some of those, and --each puts hosts into commands; it would take one with a dash in front for a flag.
func notInHost(r rune) bool {
	return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune(".-_:%+", r)
}

// bareHost checks a host and takes the brackets from an IPv6 address.
func bareHost(host string) (string, error) {
	bare := strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if strings.HasPrefix(bare, "-") || strings.ContainsFunc(bare, notInHost) {
		return "", command.Usagef("a host is a name or an address", "bad host %q", host)
	}
	if addr, err := netip.ParseAddr(bare); err == nil {
		if addr.IsLinkLocalUnicast() && addr.Is6() && addr.Zone() == "" {
			return "", command.Usagef("as "+bare+"%eth0", "%s needs the interface", bare)
		}
		if zone := addr.Zone(); zone != "" && !hasZone(zone) {
			return "", command.Usagef("there are: "+say.Names(interfaceWords()), "bad host %q: this machine has no interface %q", host, zone)
		}
		return bare, nil
	}
	if bare == "" || strings.Contains(bare, "%") {
		return "", command.Usagef("a host is a name or an address", "bad host %q", host)
	}
	if name, _, has := strings.Cut(bare, ":"); has {
		return "", command.Usagef("the ports are the profile's: try "+name, "bad host %q", host)
	}
	return bare, nil
}

// hasZone reports whether this machine has the interface that a zone names, or whose number it is.
func hasZone(zone string) bool {
	if known(zone) {
		return true
	}
	n, err := strconv.Atoi(zone)
	if err != nil {
		return false
	}
	_, err = net.InterfaceByIndex(n)
	return err == nil
}

// maxHostsSize is some 100,000 hosts.
const maxHostsSize = 4 << 20

// maxHost is the longest name that DNS has, with a dot at its end.
const maxHost = 254

// badLine returns why a line of a file of hosts is none. It shows the line only if that is an
// address: a wrong file may be a profile or a link, whose sequence is a secret.
func badLine(host string) *command.Error {
	_, err := bareHost(host)
	_, other := netip.ParseAddr(strings.Trim(host, "[]"))
	wrong := new(command.Error)
	switch {
	case err == nil && len(host) <= maxHost:
		return nil
	case other == nil && errors.As(err, &wrong):
		return wrong
	}
	return command.Usagef("a host is a name or an address, without a port", "bad host")
}

// readHosts reads a file with a host on each line, "-" for in. What follows "#"
// and empty lines are left out. A file without any host is a mistake: to knock
// on the profile's host instead would not be what was meant.
func readHosts(ctx context.Context, file string) ([]string, error) {
	text, err := files.Input(ctx, file, maxHostsSize)
	if err != nil {
		return nil, &command.Error{Code: command.Usage, Err: fmt.Errorf("read hosts: %w", err)}
	}
	var hosts []string
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		host, _, _ := strings.Cut(line, "#")
		host = strings.TrimSpace(host)
		if host == "" {
			continue
		}
		if err := badLine(host); err != nil {
			return nil, command.Usagef(err.Hint, "%s:%d: %w", file, n, err.Err)
		}
		hosts = append(hosts, host)
	}
	if len(hosts) == 0 {
		return nil, command.Usagef("a host on each line", "%s has no host", file)
	}
	return hosts, nil
}
