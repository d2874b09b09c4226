package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"knockkit/client"
	"knockkit/internal/command"
	"knockkit/internal/config"
	"knockkit/internal/files"
	"knockkit/protocol"
)

// wanted reads the arguments of a command that takes PROFILE[@HOST] alone.
func wanted(c *cli.Context) ([]client.Target, error) {
	stray, dashed := command.Stray(c)
	switch {
	case c.NArg() == 0 && c.NumFlags() == 0 && command.Rest(c) == nil && c.Command.Name == c.App.Name:
		return nil, command.Help(c)
	case c.NArg() == 0:
		return nil, command.NoArgument(c)
	case c.NArg() > 1:
		return nil, command.Usagef("usage: "+c.Command.UsageText, "unexpected argument %q", c.Args().Get(1))
	case stray != nil:
		return nil, strayError(c, c.Args().First(), stray, dashed)
	}
	return targets(c, c.Args().First(), "")
}

// strayError says that what follows a profile needs two dashes in front of it, or is a host;
// or that no profile but a command was meant.
func strayError(c *cli.Context, typed string, stray []string, dashed string) error {
	if f, err := folders(c, os.Getenv); err == nil && (otherWord(typed, stray) != "" || closestCommand(c, typed) != nil) {
		_, err = f.Load(typed)
		if unknown := new(config.UnknownProfileError); errors.As(err, &unknown) {
			return unknownProfile(c, unknown, typed, stray)
		}
	}
	hint := "a command goes after two dashes: " + dashed
	if _, err := netip.ParseAddr(stray[0]); len(stray) == 1 && (err == nil || strings.Contains(stray[0], ".")) {
		name, _, _ := strings.Cut(typed, "@")
		hint += "\nanother host goes after an @: knock " + command.Shell([]string{name + "@" + stray[0]})
	}
	return command.Usagef(hint, "unexpected argument %q", stray[0])
}

// targets reads PROFILE[@HOST] and the flags: one target for each host, at
// least one. at, if not "", is the host instead of all others.
func targets(c *cli.Context, typed, instead string) ([]client.Target, error) {
	f, err := family(c)
	if err != nil {
		return nil, err
	}
	name, at, hasHost := strings.Cut(typed, "@")
	entry, err := load(c, name, typed)
	if err != nil {
		return nil, err
	}
	hosts := c.StringSlice("host")
	if hasHost {
		hosts = append([]string{at}, hosts...)
	}
	if file := c.String("hosts-file"); file != "" {
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
	if len(hosts) == 0 {
		return nil, command.Usagef("say which: knock "+name+"@HOST, or set `host` in "+entry.File, "profile %s has no host", name)
	}
	return forHosts(entry.Profile, hosts, f)
}

// forHosts drops hosts that were named twice: two sequences to one host at the
// same time would disturb each other.
func forHosts(p *protocol.Profile, hosts []string, f protocol.Family) ([]client.Target, error) {
	var ts []client.Target
	var seen []string
	for _, host := range hosts {
		bare, err := bareHost(host)
		if err != nil {
			return nil, err
		}
		if slices.Contains(seen, bare) {
			continue
		}
		seen = append(seen, bare)
		ts = append(ts, client.Target{Profile: p, Host: bare, Family: f})
	}
	return ts, nil
}

// bareHost checks a host and takes the brackets from an IPv6 address.
func bareHost(host string) (string, error) {
	bare := strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if addr, err := netip.ParseAddr(bare); err == nil {
		if addr.IsLinkLocalUnicast() && addr.Is6() && addr.Zone() == "" {
			return "", command.Usagef("as "+bare+"%eth0", "%s needs the interface", bare)
		}
		return bare, nil
	}
	if bare == "" || strings.ContainsAny(bare, " \t/@[]") {
		return "", command.Usagef("a host is a name or an address", "bad host %q", host)
	}
	if name, _, has := strings.Cut(bare, ":"); has {
		return "", command.Usagef("the ports are the profile's: try "+name, "bad host %q", host)
	}
	return bare, nil
}

func load(c *cli.Context, name, typed string) (config.Entry, error) {
	f, err := folders(c, os.Getenv)
	if err != nil {
		return config.Entry{}, err
	}
	entry, err := f.Load(name)
	if unknown := new(config.UnknownProfileError); errors.As(err, &unknown) {
		return entry, unknownProfile(c, unknown, typed, nil)
	}
	if exposed := new(files.ExposedError); errors.As(entry.Exposed, &exposed) {
		words := printer(c)
		words.Warning("%s", exposed)
		words.Hint(exposed.Todo)
	}
	return entry, command.ProfileError(c, err, typed)
}

// maxHostsSize is some 100,000 hosts.
const maxHostsSize = 4 << 20

// readHosts reads a file with a host on each line, "-" for in. What follows "#"
// and empty lines are left out. A file without any host is a mistake: to knock
// on the profile's host instead would not be what was meant.
func readHosts(ctx context.Context, file string) ([]string, error) {
	text, err := files.Input(ctx, file, maxHostsSize)
	if err != nil {
		return nil, &command.Error{Code: command.Usage, Err: fmt.Errorf("read hosts: %w", err)}
	}
	var hosts []string
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		text, _, _ := strings.Cut(lines.Text(), "#")
		text = strings.TrimSpace(text)
		if text == "" {
			continue
		}
		if _, err := bareHost(text); err != nil {
			wrong := new(command.Error)
			errors.As(err, &wrong)
			return nil, command.Usagef(wrong.Hint, "%s:%d: %w", file, n, err)
		}
		hosts = append(hosts, text)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read hosts from %s: %w", file, err)
	}
	if len(hosts) == 0 {
		return nil, command.Usagef("a host on each line", "%s has no host", file)
	}
	return hosts, nil
}
