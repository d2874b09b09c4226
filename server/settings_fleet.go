package server

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"knockkit/internal/tomldoc"
	"knockkit/protocol"
	"knockkit/protocol/format"
)

// Fleet is the table [fleet] of knockd.toml: the servers that tell each other about leases. Relative paths of
// the file have its folder in front.
type Fleet struct {
	Name    string   // the audience of signed knocks too: see [protocol.CheckAudience]
	Secrets []string // files with a secret, 1 to MaxSecrets: the node writes with the first, and accepts all

	Listen netip.AddrPort // this node runs an engine there; one of Nodes; the zero value: it only connects
	Nodes  []string       // the nodes that run an engine, as [ParseNode] writes them: 1 to MaxNodes; none with NATS
	Store  string         // the folder of this node's engine

	NATS        []string // URLs of an engine that is there already, instead of Nodes
	Credentials string   // the file of credentials for it; "": none
	CA          string   // the file of certificates that its own is checked by; "": those of the system
}

// Limits and defaults of a fleet.
const (
	MaxSecrets        = 3
	MaxNodes          = 64
	DefaultFleetPort  = 7115
	DefaultFleetStore = "/var/lib/knockd/fleet"
)

// needs is the hint where something is missing in [fleet].
const needs = `a fleet needs name, secret and nodes: "knockd fleet init" says what to write`

// readFleet returns what the table says, as far as it is right.
func readFleet(doc *tomldoc.Document, t *tomldoc.Table, folder string) *Fleet {
	f := &Fleet{Store: DefaultFleetStore}
	path := func(text tomldoc.Field[string]) string {
		if text.Value == "" {
			doc.Error(text.At, "the path is empty", "")
		}
		if filepath.IsAbs(text.Value) {
			return text.Value
		}
		return filepath.Join(folder, text.Value)
	}
	if name := t.Text("name"); name != nil {
		if err := protocol.CheckAudience(name.Value); err != nil {
			doc.Error(name.At, fmt.Sprintf("a fleet's name is the audience of its signed knocks, and %s", err), `for example "web"`)
		}
		f.Name = name.Value
	} else if !t.Has("name") {
		doc.Error(t.At(), "`name` is not set", needs)
	}
	if secrets := t.TextOrTexts("secret"); secrets != nil {
		f.Secrets = readList(doc, secrets, MaxSecrets, "files of secrets", func(text tomldoc.Field[string]) (string, error) { return path(text), nil })
	} else if !t.Has("secret") {
		doc.Error(t.At(), "`secret` is not set", needs)
	}
	listen, nodes, nats := t.Text("listen"), t.Texts("nodes"), t.TextOrTexts("nats")
	if nodes != nil {
		f.Nodes = readList(doc, nodes, MaxNodes, "nodes", func(text tomldoc.Field[string]) (string, error) { return ParseNode(text.Value) })
	}
	if listen != nil {
		f.readListen(doc, listen, nodes != nil)
	}
	if nats != nil {
		f.NATS = readList(doc, nats, MaxNodes, "engines", func(text tomldoc.Field[string]) (string, error) { return text.Value, checkNATS(text.Value) })
		if listen != nil || nodes != nil {
			doc.Error(nats.Key, "`nats` is an engine that is there already; `listen` and `nodes` are for engines of the nodes' own", "keep one of the two")
		}
	} else if !t.Has("nodes") && !t.Has("nats") {
		hint := needs
		if f.Listen.IsValid() {
			hint = fmt.Sprintf("for a first node nodes = [%q]", f.Listen)
		}
		doc.Error(t.At(), "`nodes` is not set, nor `nats`", hint)
	}
	if store := t.Text("store"); store != nil {
		f.Store = path(*store)
	}
	ofNATS := func(key string) string {
		file := t.Text(key)
		if file == nil {
			return ""
		}
		if !t.Has("nats") {
			doc.Error(file.Key, "`"+key+"` is for an engine that is there already, and `nats` is not set", "nodes know each other by the secret")
		}
		return path(*file)
	}
	f.Credentials, f.CA = ofNATS("credentials"), ofNATS("ca")
	t.Unknown(func(string) string { return "" })
	return f
}

// readListen reads the address of this node's engine.
func (f *Fleet) readListen(doc *tomldoc.Document, listen *tomldoc.Field[string], nodes bool) {
	node, err := ParseNode(listen.Value)
	if err == nil {
		if f.Listen, err = netip.ParseAddrPort(node); err != nil { // a name
			err = &format.SyntaxError{End: len(listen.Value), Message: fmt.Sprintf("%s is not an address with a port", tomldoc.Quote(listen.Value)),
				Hint: "the service starts before there is a DNS: " + exampleNode}
		}
	}
	if err != nil {
		wrongText(doc, *listen, err)
	} else if nodes && !slices.Contains(f.Nodes, node) {
		doc.Error(listen.At, fmt.Sprintf("`listen` is none of `nodes`: the other nodes do not know %s", node), fmt.Sprintf("add %q to `nodes`, on every node", node))
	}
}

// readList reads the items of a list, of which there is one at least and at most a number, each once.
func readList(doc *tomldoc.Document, list *tomldoc.Texts, most int, what string, read func(tomldoc.Field[string]) (string, error)) (all []string) {
	if n := len(list.Value); n == 0 || n > most {
		doc.Error(list.At, fmt.Sprintf("the list has %d %s: it takes 1 to %d", n, what, most), "")
	}
	for _, text := range list.Value {
		item, err := read(text)
		switch {
		case err != nil:
			wrongText(doc, text, err)
		case slices.Contains(all, item):
			doc.Error(text.At, fmt.Sprintf("%s is in the list twice", tomldoc.Quote(item)), "")
		}
		all = append(all, item)
	}
	return all
}

// wrongText reports a mistake inside a string.
func wrongText(doc *tomldoc.Document, text tomldoc.Field[string], err error) {
	at, message, hint := text.At, err.Error(), ""
	if wrong := new(format.SyntaxError); errors.As(err, &wrong) {
		at, hint = doc.Inside(text.At, text.Value, wrong.Start, wrong.End), wrong.Hint
	}
	doc.Error(at, message, hint)
}

const exampleNode = `for example "198.51.100.11:7115"`

// ParseNode reads where a node's engine is, ADDRESS:PORT or NAME:PORT, and returns the form that all nodes
// know it by. The error is a [*format.SyntaxError].
func ParseNode(text string) (string, error) {
	refuse := func(part, message, hint string) (string, error) {
		start := max(0, strings.Index(text, part))
		return "", &format.SyntaxError{Text: text, Start: start, End: start + len(part), Message: message, Hint: hint}
	}
	host, service, err := net.SplitHostPort(text)
	if err != nil {
		hint := exampleNode
		if err := format.CheckHost(strings.Trim(text, "[]")); err == nil {
			hint = fmt.Sprintf("did you mean %q?", net.JoinHostPort(strings.Trim(text, "[]"), strconv.Itoa(DefaultFleetPort)))
		}
		return refuse(text, fmt.Sprintf("%s has no port", tomldoc.Quote(text)), hint)
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil || port == 0 {
		return refuse(text, fmt.Sprintf("%s is no port from 1 to 65535", tomldoc.Quote(service)), exampleNode)
	}
	addr, err := netip.ParseAddr(host)
	switch {
	case err != nil:
		if err := format.CheckHost(host); err != nil {
			return refuse(text, err.Error(), exampleNode)
		}
		host = strings.ToLower(strings.TrimSuffix(host, "."))
	case addr.IsUnspecified():
		return refuse(host, fmt.Sprintf("%s is every address of a host, and the nodes know each other by one", host), exampleNode)
	case addr.Zone() != "":
		return refuse(host, fmt.Sprintf("%s has a zone, which another host does not know", tomldoc.Quote(host)), exampleNode)
	default:
		host = addr.Unmap().String()
	}
	return net.JoinHostPort(host, strconv.FormatUint(port, 10)), nil
}

// checkNATS returns why a text is no URL of an engine.
func checkNATS(text string) error {
	const hint = `for example "tls://nats1:4222"`
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Hostname() == "" || !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme) || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		return &format.SyntaxError{Text: text, End: len(text), Message: fmt.Sprintf("%s is no URL of a NATS server", tomldoc.Quote(text)), Hint: hint}
	case u.User != nil:
		return &format.SyntaxError{Text: text, End: len(text), Message: "the URL has a user or a password", Hint: "credentials are a file: credentials = \"nats.creds\""}
	}
	return nil
}

// fleetKeys is the part of SettingKeys about [fleet].
func fleetKeys() []format.Key {
	example := func(more string) string {
		return `fleet = { name = "web", secret = "fleet.key", ` + more + ` }`
	}
	const nodes = `nodes = ["198.51.100.11:7115"]`
	const engine = `nats = "tls://nats1:4222"`
	return []format.Key{
		{Name: "fleet", Example: example(nodes), Meaning: "Who has knocked on one server of a fleet is let in by all. Unset: the server is alone."},
		{Name: "fleet.name", Example: example(nodes), Meaning: "The fleet's name, the same on every node. It is the audience of signed knocks, in place of `audience`."},
		{Name: "fleet.secret", Example: `fleet = { name = "web", secret = ["new.key", "fleet.key"], ` + nodes + ` }`, Meaning: "The file of the secret, 32 bytes in base64url with mode 0600: `knockd fleet init` writes it. While it is changed a list: the node writes with the first, and accepts all. Paths begin at the folder of `knockd.toml`."},
		{Name: "fleet.listen", Example: example(`listen = "198.51.100.11:7115", ` + nodes), Meaning: "This node runs an engine at this address, one of `nodes`. Unset: it only connects."},
		{Name: "fleet.nodes", Example: example(nodes), Meaning: "All nodes that run an engine, 1 to 64, the same list on every node."},
		{Name: "fleet.store", Default: `"` + DefaultFleetStore + `"`, Example: example(nodes + `, store = "/srv/knockd-fleet"`), Meaning: "Where this node's engine keeps its files."},
		{Name: "fleet.nats", Example: example(engine), Meaning: "Instead of `listen` and `nodes`: the URL of NATS servers with JetStream that are there already, or a list."},
		{Name: "fleet.credentials", Example: example(engine + `, credentials = "nats.creds"`), Meaning: "The file of credentials for them."},
		{Name: "fleet.ca", Example: example(engine + `, ca = "ca.pem"`), Meaning: "The file of the certificates that theirs are checked by. Unset: those of the system."},
	}
}
