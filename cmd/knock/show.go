package main

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"knockkit/internal/command"
	"knockkit/internal/config"
	"knockkit/internal/say"
	"knockkit/protocol"
)

func showAction(c *cli.Context) error {
	if noProfile(c) {
		return command.NoArgument(c)
	}
	p, rest := choose(c)
	if len(rest) > 0 {
		return command.Usagef("", "show takes one profile")
	}
	if p.at {
		return command.Usagef("", "show takes no host")
	}
	e, err := p.load(c)
	if err != nil {
		return err
	}
	if words := printer(c); len(e.Warnings) > 0 && !words.Quiet {
		words.Block(e.Warnings.Error())
	}
	var key config.KeyEntry
	var noKey error
	if e.Profile.Signed != nil {
		key, noKey = p.key(c, e)
	}
	if c.Bool("json") {
		j := toJSON(e, key.KeyFile, noKey)
		for _, s := range e.Profile.Sequence {
			j.Sequence = append(j.Sequence, stepJSON{s.Knock.String(), s.Within.Seconds()})
		}
		return say.JSON(c.App.Writer, "", j)
	}
	all := append([][]string{{"file", e.File}}, lines(e.Profile)...)
	switch {
	case noKey != nil:
		all = append(all, []string{"key", "none that can be used: " + noKey.Error()})
	case key.KeyFile != nil:
		all = append(all, []string{"key", keyText(key.KeyFile)})
	}
	return say.Columns(c.App.Writer, all)
}

// lines are a profile for its user, a key and a value each. Keys that only the server needs are left
// out.
func lines(p *protocol.Profile) [][]string {
	all := [][]string{
		{"profile", p.Name},
		{"description", p.Description},
		{"host", hostsText(p)},
		{"sequence", strings.Join(sequence(p), " → ")},
		{"knock", signedText(p)},
		{"opens", joined(say.Texts(p.Open))},
		{"lease", leaseText(p)},
		{"close", closeText(p)},
		{"family", p.Family.String()},
		{"timing", timing(p)},
		{"check", check(p)},
	}
	var said [][]string
	for _, line := range all {
		if line[1] != "" {
			said = append(said, line)
		}
	}
	return said
}

// sequence writes the knocks, each with the time that it may take after the
// one before.
func sequence(p *protocol.Profile) []string {
	words := make([]string, len(p.Sequence))
	for i, s := range p.Sequence {
		words[i] = s.Knock.String()
		if s.Within > 0 {
			words[i] += " (within " + say.Duration(s.Within) + ")"
		}
	}
	return words
}

func hostsText(p *protocol.Profile) string {
	text := strings.Join(p.Hosts, ", ")
	if p.AnyHost && len(p.Hosts) > 1 {
		text += " (any one of them)"
	}
	return text
}

func signedText(p *protocol.Profile) string {
	if p.Signed == nil {
		return ""
	}
	return "signed, in " + p.Signed.Carrier.String()
}

func leaseText(p *protocol.Profile) string {
	text := lease(p.Lease)
	if p.Once {
		text += ", for one connection"
	}
	if p.Renew {
		text += ", starting again with each connection"
	}
	return text
}

func closeText(p *protocol.Profile) string {
	if p.Close == nil {
		return ""
	}
	return p.Close.String()
}

func timing(p *protocol.Profile) string {
	what := "between knocks"
	if p.Signed != nil {
		what = "from the knock to the check"
	}
	return fmt.Sprintf("%s %s, %s", say.Latency(p.Client.Gap), what, attempts(p.Client.Attempts))
}

func attempts(n int) string {
	if n == 1 {
		return "one attempt"
	}
	return fmt.Sprintf("at most %d attempts", n)
}

func check(p *protocol.Profile) string {
	tcp := ""
	for _, r := range p.Open {
		if r.Proto == protocol.TCP && tcp == "" {
			tcp = fmt.Sprintf("%d/tcp", r.First)
		}
	}
	switch {
	case !p.Client.Verify:
		return "none (verify = false)"
	case p.Once:
		return "none (it would use the lease up)"
	case tcp == "":
		return "none (nothing opens over tcp)"
	}
	return "a connection to " + tcp
}
