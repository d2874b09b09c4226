package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"knockkit/internal/command"
	"knockkit/internal/config"
	"knockkit/internal/files"
	"knockkit/internal/say"
	"knockkit/protocol"
	"knockkit/server"
	"knockkit/server/secret"
)

func fleetInitCommand() *cli.Command {
	return &cli.Command{
		Name: "init", Usage: "make a fleet's secret, and add [fleet] to knockd.toml", Action: on(initFleet),
		Description: `Makes the secret, unless there is one, and adds the section to knockd.toml, which is printed.
What to do on the other nodes is said. Where knockd.toml has [fleet], as with "nats" for an
engine that is there already, only the secret that it names is made.

A secret is changed in three steps, during which the nodes go on: with --new-secret another
one is made beside it, and the steps are said. After a node was stolen that is what to do.

Example:
  knockd fleet init --name web --listen 198.51.100.11:7115 --node 198.51.100.12:7115
  knockd fleet init --new-secret`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "name", Usage: "call the fleet `NAME`, which is the audience of its signed knocks"},
			&cli.StringFlag{Name: "listen", Usage: "run an engine at `ADDR:PORT`, an address of this host that the other nodes reach; without it the node only connects"},
			&cli.StringSliceFlag{Name: "node", Usage: "know the node with an engine at `ADDR:PORT`; may be repeated"},
			&cli.BoolFlag{Name: "new-secret", Usage: "make another secret, for a change in three steps"},
		},
	}
}

// firstSecret is the name of a fleet's first file, in the configuration folder.
const firstSecret = "fleet.key"

func initFleet(h *host) error {
	flags := slices.ContainsFunc([]string{"name", "listen", "node"}, h.c.IsSet)
	f := h.settings.Fleet
	switch {
	case h.c.Bool("new-secret") && flags:
		return command.Usagef("leave them out", "--new-secret changes the secret alone, and takes no --name, --listen or --node")
	case h.c.Bool("new-secret") && f == nil:
		return command.Usagef("for a first one: "+exampleInit, "there is no [fleet] in %s", h.folders.SettingsFile())
	case h.c.Bool("new-secret"):
		return h.anotherSecret(f)
	case f != nil && flags:
		return command.Usagef("change it there", "%s has [fleet] already", h.folders.SettingsFile())
	case f != nil:
		return h.missingSecret(f)
	}
	f, err := fleetOf(h.c)
	if err != nil {
		return err
	}
	return h.newFleet(f)
}

const exampleInit = "knockd fleet init --name web --listen 198.51.100.11:7115 --node 198.51.100.12:7115"

// fleetOf returns what the flags say.
func fleetOf(c *cli.Context) (*server.Fleet, error) {
	f := &server.Fleet{Name: c.String("name"), Secrets: []string{firstSecret}}
	if f.Name == "" {
		return nil, command.Usagef("for example: "+exampleInit, "the fleet needs a name, and nodes")
	}
	if err := protocol.CheckAudience(f.Name); err != nil {
		return nil, command.Usagef("for example --name web", "--name: a fleet's name is an audience, and %w", err)
	}
	add := func(flag, text string) error {
		node, err := server.ParseNode(text)
		if err != nil {
			wrong := new(command.Error)
			_ = errors.As(usage(err), &wrong)
			return command.Usagef(wrong.Hint, "--%s: %w", flag, err)
		}
		if !slices.Contains(f.Nodes, node) {
			f.Nodes = append(f.Nodes, node)
		}
		return nil
	}
	for _, text := range c.StringSlice("node") {
		if err := add("node", text); err != nil {
			return nil, err
		}
	}
	if c.IsSet("listen") {
		if err := add("listen", c.String("listen")); err != nil {
			return nil, err
		}
	}
	if len(f.Nodes) == 0 {
		return nil, command.Usagef("for example: "+exampleInit, "the fleet needs --listen, or a --node that has an engine")
	}
	return f, nil
}

// section is the text of [fleet]. listen is "" for a node that only connects.
func section(f *server.Fleet, listen string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "[fleet]\nname = %q\nsecret = %q", f.Name, f.Secrets[0])
	if listen != "" {
		fmt.Fprintf(&b, "\nlisten = %q   # this node's own: another one on each", listen)
	}
	b.WriteString("\nnodes = [")
	for i, node := range f.Nodes {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%q", node)
	}
	b.WriteString("]\n")
	return b.String()
}

// newFleet makes the secret and adds the section to knockd.toml.
func (h *host) newFleet(f *server.Fleet) error {
	settings, was, err := h.folders.Read("knockd.toml", server.MaxSettingsSize)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return usage(err)
	}
	listen := ""
	if h.c.IsSet("listen") {
		listen, _ = server.ParseNode(h.c.String("listen")) // as fleetOf has
	}
	added := section(f, listen)
	text := slices.Clone(was)
	if len(text) > 0 {
		text = append(bytes.TrimRight(text, "\n"), "\n\n"...)
	}
	text = append(text, added...)
	if _, problems := server.ParseSettings(settings, text); problems.HasErrors() {
		return &command.Error{Code: command.Usage, Err: errors.New("knockd.toml would have errors: nothing was written"), Detail: problems.Error()}
	}
	file := filepath.Join(filepath.Dir(settings), firstSecret)
	made, err := makeSecret(file)
	if err != nil {
		return err
	}
	if err := h.writeSettings(settings, was, text); err != nil {
		if made {
			err = errors.Join(err, files.Remove(file))
		}
		return writeError(err)
	}
	h.saySecret(file, made)
	h.words.Note("%s has this section now:", settings)
	unprinted := h.printed(func() error { return say.Data(h.c.App.Writer, added) }, file, settings)
	h.sayOthers(f, file, listen)
	return unprinted
}

// makeSecret makes the file of a secret, or reads the one that is there.
func makeSecret(file string) (made bool, err error) {
	err = secret.Create(file)
	if errors.Is(err, fs.ErrExist) {
		if _, err := secret.Read(file); err != nil {
			return false, usage(err)
		}
		return false, nil
	}
	return err == nil, writeError(err)
}

func (h *host) saySecret(file string, made bool) {
	if !made {
		h.words.Note("the secret in %s stays as it is", file)
		return
	}
	h.words.Note("a new secret is in %s: whoever has it can open what the fleet shares", file)
}

// writeSettings writes knockd.toml, which was read before: nil where there was none.
func (h *host) writeSettings(file string, was, text []byte) error {
	if was == nil {
		return files.Write(file, text, false)
	}
	o, err := openOriginal(config.Entry{File: file, Text: was})
	if err != nil {
		return err
	}
	defer o.Close()
	return o.replace(text)
}

// sayOthers says what to do on the other nodes, by the example of the first.
func (h *host) sayOthers(f *server.Fleet, file, listen string) {
	i := slices.IndexFunc(f.Nodes, func(node string) bool { return node != listen })
	if i < 0 {
		h.words.Note("a node alone shares with nobody: for each further one add its address to `nodes`, and give it the secret and the section")
		return
	}
	other, _, _ := net.SplitHostPort(f.Nodes[i])
	line := []string{"sudo", "knockd", "fleet", "init", "--name", f.Name, "--listen", f.Nodes[i]}
	for _, node := range f.Nodes {
		line = append(line, "--node", node)
	}
	h.words.Note("each other node needs the same secret and section, there with its own address as `listen`: for %s", other)
	h.words.Advice(copySecret(file, other))
	h.words.Advice("ssh " + other + " " + command.Shell(line))
	h.words.Note("nodes connect to each other at these addresses: let them through, and nobody else")
	h.words.Note("then, on every node: systemctl restart knockd")
}

// copySecret is the command that copies a secret to another host, and shows it nowhere.
func copySecret(file, host string) string {
	if abs, err := filepath.Abs(file); err == nil {
		file = abs
	}
	path := command.Shell([]string{file})
	return "sudo cat " + path + " | ssh " + host + " sudo install -m 0600 /dev/stdin " + path
}

// missingSecret makes the secret that knockd.toml names.
func (h *host) missingSecret(f *server.Fleet) error {
	file := f.Secrets[0]
	if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
		if _, err := secret.Read(file); err != nil {
			return usage(err)
		}
		return command.Usagef("for another one, in three steps: knockd fleet init --new-secret", "%s has [fleet] already, and its secret is in %s", h.folders.SettingsFile(), file)
	}
	if made, err := makeSecret(file); err != nil || !made {
		return err
	}
	h.saySecret(file, true)
	h.words.Note("every node needs this secret: where another one has made it already, copy that here instead")
	h.words.Advice(copySecret(file, "HOST"))
	return nil
}

// anotherSecret makes a further secret, and says how it comes into use.
func (h *host) anotherSecret(f *server.Fleet) error {
	if len(f.Secrets) > 1 {
		return command.Usagef("end it first: leave the one that all nodes write with", "`secret` has %d files: a change is under way", len(f.Secrets))
	}
	old := f.Secrets[0]
	if _, err := secret.Read(old); err != nil {
		return usage(err)
	}
	begin := strings.TrimSuffix(old, filepath.Ext(old))
	var file string
	for n := 2; ; n++ {
		file = fmt.Sprintf("%s-%d%s", begin, n, filepath.Ext(old))
		if err := secret.Create(file); err == nil {
			break
		} else if !errors.Is(err, fs.ErrExist) {
			return writeError(err)
		}
	}
	was, will := h.asWritten(old), h.asWritten(file)
	h.words.Note("a new secret is in %s, and not in use yet: three steps, each on every node before the next one", file)
	h.words.Detail("1. copy it: %s", copySecret(file, "HOST"))
	h.words.Detail("   and set secret = [%q, %q] in knockd.toml: the node understands both", was, will)
	h.words.Detail("2. set secret = [%q, %q]: the node writes with the new one", will, was)
	h.words.Detail("3. set secret = %q, and rm %s", will, command.Shell([]string{old}))
	h.words.Note("after each step: systemctl restart knockd, one node after the other")
	return nil
}

// asWritten is a path as knockd.toml has it.
func (h *host) asWritten(path string) string {
	if inside, err := filepath.Rel(filepath.Dir(h.folders.SettingsFile()), path); err == nil && filepath.IsLocal(inside) {
		return inside
	}
	return path
}
