package main

import (
	"crypto/rand"
	"errors"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"knockkit/internal/command"
	"knockkit/internal/say"
	"knockkit/protocol"
	"knockkit/protocol/format"
	"knockkit/server/keys"
)

func newCommand() *cli.Command {
	return &cli.Command{
		Name: "new", Usage: "write a profile with a sequence of its own", ArgsUsage: "NAME", Action: onOne(newProfile),
		Description: `Without --open, NAME is the name of a service, as ssh, mysql or postgresql, and its
port is opened. A running service installs the profile at once: the port closes.

Example:
  knockd profile new mysql
  knockd profile new ssh --signed
  knockd profile new admin --open 8443/tcp,6000-6010/tcp --lease 8h --host db1.example.com`,
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "open", Usage: "open `PORTS`, as 3306/tcp or 6000-6010/tcp, several with commas; may be repeated"},
			&cli.StringFlag{Name: "lease", Usage: "let holders make new connections for `TIME`, as 8h; 0: no end" + bareNumber, DefaultText: "1h"},
			&cli.StringFlag{Name: "within", Usage: "let `TIME` pass from one knock to the next at most" + bareNumber, DefaultText: "10s"},
			&cli.StringSliceFlag{Name: "host", Usage: "for the client: knock on `HOST`; may be repeated"},
			&cli.BoolFlag{Name: "signed", Usage: "instead of a sequence, take a token that only a key can make: see knockd key add"},
			&cli.StringFlag{Name: "carrier", Usage: "let the token of a signed profile come in `KNOCK`: icmp, or a port as 40123/udp", DefaultText: "icmp"},
			&cli.StringFlag{Name: "description", Usage: "say what it is for, in `TEXT` of one line"},
			allowLockoutFlag(),
		},
	}
}

// allowLockoutFlag is for commands whose change a running service installs at once.
func allowLockoutFlag() cli.Flag {
	return &cli.BoolFlag{Name: "allow-lockout", Usage: "let a running service close the port of your own SSH session"}
}

func newProfile(h *host, name string) error {
	if err := format.CheckName(name); err != nil {
		return command.Usagef("lower-case letters, digits and hyphens, at most 20", "%w", err)
	}
	text, p, err := h.newText(name)
	if err != nil {
		return err
	}
	k, err := h.keeper(p)
	if err != nil {
		return err
	}
	if err := h.write(name, []byte(text), false); err != nil {
		return err
	}
	changed := time.Now()
	unprinted := h.printed(func() error { return say.Data(h.c.App.Writer, h.newFile(name)+"\n") }, h.newFile(name))
	length := "for " + lease(p.Lease)
	if p.Lease == 0 {
		length = "without end"
	}
	h.words.Note("a lease opens %s, %s", strings.Join(say.Texts(p.Open), " "), length)
	if p.Signed != nil {
		h.noteKeys(name)
	}
	return errors.Join(h.takenUp(k, changed, name, p), unprinted)
}

// noteKeys says who can open a new signed profile.
func (h *host) noteKeys(name string) {
	if r, err := h.ring(); err == nil {
		if left := keys.Of(r.all, name, ""); len(left) > 0 {
			h.words.Warning("keys of an earlier profile of that name open it: %s", say.Names(users(left)))
			h.words.Advice("knockd key remove USER " + name)
		}
	}
	h.words.Note("give each user a key: knockd key add USER %s", name)
}

// newText returns the new profile's text, and what it says: valid, alone and beside the others.
func (h *host) newText(name string) (string, *protocol.Profile, error) {
	c := h.c
	opens, err := openFlag(c, name)
	if err != nil {
		return "", nil, err
	}
	others, err := h.others(name)
	if err != nil {
		return "", nil, err
	}
	carrier, err := carrierFlag(c)
	if err != nil {
		return "", nil, err
	}
	n := format.NewProfile{
		Name: name, Open: opens, Carrier: carrier, Lease: withUnit(c.String("lease")), Within: withUnit(c.String("within")), Hosts: c.StringSlice("host"), Description: c.String("description"),
		Avoid: func(k protocol.Knock) bool {
			return slices.ContainsFunc(others, func(o *protocol.Profile) bool { return o.Opens(k) || o.Close != nil && *o.Close == k })
		},
	}
	text, err := format.NewProfileText(n, random)
	if err != nil {
		return "", nil, command.Usagef("open fewer ports", "%w", err)
	}
	p, diagnostics := format.ParseProfile(name+".toml", []byte(text))
	if wrong := diagnostics.Errors(); len(wrong) > 0 {
		key, _, _ := strings.Cut(wrong[0].Text, " ") // each flag has a line of its own
		return "", nil, command.Usagef(wrong[0].Hint, "--%s: %s", key, wrong[0].Message)
	}
	if problems := together(p, others); len(problems) > 0 {
		return "", nil, command.Usagef("open another port, or change the other profile", "%w", errors.Join(problems...))
	}
	for _, w := range diagnostics {
		h.words.Warning("%s", w.Message)
	}
	return text, p, nil
}

// carrierFlag returns what carries the token of a signed profile; "" for another one.
func carrierFlag(c *cli.Context) (string, error) {
	switch {
	case !c.Bool("signed") && c.IsSet("carrier"):
		return "", command.Usagef("add --signed", "--carrier is for signed profiles")
	case !c.Bool("signed"):
		return "", nil
	case c.IsSet("within"):
		return "", command.Usagef("leave it out", "a signed profile has no --within: its knock is one packet")
	case c.IsSet("carrier"):
		return c.String("carrier"), nil
	}
	return "icmp", nil
}

// withUnit makes plain seconds, which commands take, a time as a profile writes it.
func withUnit(text string) string {
	if text != "" && strings.Trim(text, "0123456789") == "" {
		return text + "s"
	}
	return text
}

// random returns a number from 0 to n-1 that nobody can predict.
func random(n int) int {
	i, err := rand.Int(rand.Reader, big.NewInt(int64(n)))
	if err != nil {
		panic(err) // the kernel has no randomness: nothing is safe then
	}
	return int(i.Int64())
}

// openFlag returns the ports of --open, else those of the service of that name.
func openFlag(c *cli.Context, name string) ([]protocol.PortRange, error) {
	if !c.IsSet("open") {
		if ports := format.ServicePorts(name); len(ports) > 0 {
			return ports, nil
		}
		return nil, unknownService(c, name)
	}
	var all []protocol.PortRange
	for _, text := range c.StringSlice("open") {
		for item := range strings.SplitSeq(text, ",") {
			r, err := format.ParsePortRange(strings.TrimSpace(item))
			if wrong := new(*format.SyntaxError); errors.As(err, wrong) {
				return nil, command.Usagef((*wrong).Hint, "--open: %w", err)
			}
			for _, other := range all {
				if both, is := r.Intersect(other); is {
					return nil, command.Usagef("say each port once", "--open: %s is opened twice", both)
				}
			}
			all = append(all, r)
		}
	}
	return all, nil
}

func unknownService(c *cli.Context, name string) error {
	hint := "say which port it opens, for example: " + retyped(nil, "--open", "8443/tcp")
	if near := format.ClosestService(name); near != "" {
		hint = "did you mean: " + command.Corrected(c, name, near) + "\nelse " + hint
	}
	return command.Usagef(hint, "no service is called %s: its port is not known", name)
}

// others returns the other profiles of the folder, as far as their files can be read.
func (h *host) others(name string) ([]*protocol.Profile, error) {
	all, _, err := h.files()
	return slices.DeleteFunc(all, func(p *protocol.Profile) bool { return p.Name == name }), err
}

// together returns why a profile cannot be installed, alone or beside those of the others that are
// enabled.
func together(p *protocol.Profile, others []*protocol.Profile) []error {
	if !p.Enabled {
		return nil
	}
	problems := protocol.Check([]*protocol.Profile{p})
	for _, o := range others {
		if len(problems) == 0 && o.Enabled { // what is wrong with two is so beside any others
			problems = protocol.Check([]*protocol.Profile{p, o})
		}
	}
	return problems
}
