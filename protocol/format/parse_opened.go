package format

import (
	"slices"
	"strings"
	"unicode"

	"knockkit/internal/kernel/iptables/save"
	"knockkit/internal/tomldoc"
)

// maxBody is how long an extra rule may be, in bytes: the tools have limits of their own, with
// unclear messages.
const maxBody = 1024

// opened reads the extra rule bodies. Each has to be one rule, and leave others alone; what the rule
// does is the profile's affair. A record in the kernel may have bodies that an older version
// accepted: those stay readable.
func (a *parser) opened() {
	raw := a.raw.Opened
	if raw == nil {
		return
	}
	a.p.Opened.IPTables = a.bodies(raw.IPTables, iptablesWords)
	a.p.Opened.IP6Tables = a.bodies(raw.IP6Tables, iptablesWords)
	a.p.Opened.NFTables = a.bodies(raw.NFTables, nftablesWords)
}

// bodies reads a list of bodies. words checks one for its tool, and cuts it into words.
func (a *parser) bodies(f *tomldoc.Texts, words func(string) ([]string, error)) []string {
	var bodies []string
	for _, item := range a.list(f, "leave the key out for no extra rules") {
		if a.written {
			a.body(item, words)
		}
		bodies = append(bodies, item.Value)
	}
	return bodies
}

func (a *parser) body(item tomldoc.Field[string], words func(string) ([]string, error)) {
	body := item.Value
	err := checkBody(body)
	var all []string
	if err == nil {
		all, err = words(body)
	}
	if err != nil {
		a.text(item, err)
		return
	}
	for _, w := range all {
		if slices.Contains([]string{"RETURN", "-jRETURN", "--jump=RETURN", "return"}, w) {
			at := strings.Index(body, w)
			a.doc.Warn(a.doc.Inside(item.At, body, at, at+len(w)), w+" lets the packet in with nftables, and shuts it out with iptables",
				"accept the packet, or turn the condition round")
			return
		}
	}
}

func checkBody(body string) error {
	switch {
	case strings.TrimSpace(body) == "":
		return wrong(body, "", "remove it", "the rule is empty")
	case strings.ContainsAny(body, "\r\n"):
		return wrong(body, "", "write every rule as an item of its own", "a rule is one line")
	case strings.ContainsFunc(body, func(r rune) bool { return r != '\t' && !unicode.IsPrint(r) }):
		return wrong(body, "", "", "a rule has no control characters, and none that cannot be seen")
	case len(body) > maxBody:
		return wrong(body, "", "", "the rule has %d bytes; at most %d are possible", len(body), maxBody)
	case strings.HasSuffix(strings.TrimSpace(body), `\`):
		end := strings.LastIndex(body, `\`)
		return &SyntaxError{Text: body, Start: end, End: end + 1, Hint: "remove it", Message: "a backslash at the end takes in the rule that follows"}
	}
	return nil
}

// errQuote is the error for a body in which a quotation does not end.
func errQuote(body string) error {
	return wrong(body, "", "", "the rule has a quote that is not closed")
}

// iptablesWords cuts a body as iptables-restore does. It refuses commands, since the profile does
// not choose where its rule goes, and options after which the tool reads no further: with -h or
// -V it installs nothing and says that all went well.
func iptablesWords(body string) ([]string, error) {
	const hint = `only what follows the chain's name belongs here, as "-j CONNMARK --set-mark 7"`
	words, err := save.Args(body)
	if err != nil {
		return nil, errQuote(body)
	}
	for i, w := range words {
		switch {
		case i == 0 && slices.Contains([]string{"iptables", "ip6tables"}, w):
			return nil, wrong(body, w, hint, "%s is a command, not part of a rule", w)
		case takesOver(w):
			return nil, wrong(body, w, hint, "%s is a command, not part of a rule", tomldoc.Quote(w))
		case severalAddresses(w, words[:i]):
			return nil, wrong(body, w, "write an item for each address", "iptables makes several rules of %s", tomldoc.Quote(w))
		}
	}
	return words, nil
}

// severalAddresses reports whether an argument is a list for -s or -d, by itself or behind
// one of them.
func severalAddresses(arg string, before []string) bool {
	return strings.Contains(arg, ",") && slices.ContainsFunc([]string{"-s", "-d", "--source", "--src", "--destination", "--dst"}, func(option string) bool {
		joined := option
		if len(option) > len("-s") {
			joined += "="
		}
		return strings.HasPrefix(arg, joined) || len(before) > 0 && before[len(before)-1] == option
	})
}

// takesOver reports whether an argument is one of iptables' own options, other than those of a rule:
// by its letter, also behind -f, which takes no value, or by its name or a beginning of it. Quotes
// do not matter, since the option parser does not see them.
func takesOver(arg string) bool {
	const letters = "ACDEFILMNPRSVWXZbhntvwx46"
	names := []string{
		"append", "check", "delete", "delete-chain", "exact", "flush", "help", "insert", "ipv4", "ipv6", "line-numbers", "list", "list-rules", "modprobe",
		"new-chain", "numeric", "policy", "rename-chain", "replace", "table", "verbose", "version", "wait", "wait-interval", "zero",
	}
	if name, long := strings.CutPrefix(arg, "--"); long {
		name, _, _ = strings.Cut(name, "=")
		return name != "" && name != "pol" && // of the match "policy"
			slices.ContainsFunc(names, func(full string) bool { return strings.HasPrefix(full, name) })
	}
	option, is := strings.CutPrefix(arg, "-")
	option = strings.TrimLeft(option, "f")
	return is && option != "" && strings.Contains(letters, option[:1])
}

// nftablesWords cuts a body as nft does; nft takes a backslash inside quotes as it is. It refuses
// what is no statement, and what would end the statement early or late.
func nftablesWords(body string) ([]string, error) {
	parts := strings.Split(body, `"`)
	if len(parts)%2 == 0 {
		return nil, errQuote(body)
	}
	for i := 1; i < len(parts); i += 2 {
		parts[i] = "q" // the text in a quotation is not checked
	}
	bare := strings.Join(parts, "")
	words := strings.Fields(bare)
	notStatements := []string{
		"nft", "add", "create", "insert", "replace", "delete", "destroy", "flush", "list", "rename", "reset", "table", "chain", "rule",
		"include", "define", "redefine", "undefine", // of a file
		"type", "hook", "policy", "flags", "comment", "device", "devices", // of a chain
	}
	switch {
	// "add @set { … }" and "delete @set { … }" are statements too, and so is "reset tcp option".
	case slices.Contains(notStatements, words[0]) && (len(words) < 2 || words[1][0] != '@' && words[0] != "reset"):
		return nil, wrong(body, words[0], `only statements belong here, as "ct mark set 7"`, "%s begins a command, not a statement", tomldoc.Quote(words[0]))
	case strings.Contains(bare, ";"):
		return nil, wrong(body, ";", "write every rule as an item of its own", "a semicolon ends the rule")
	case strings.Contains(bare, "#"):
		return nil, wrong(body, "#", "comments belong into the profile, outside of the string", "what follows # would be a comment")
	}
	depth := 0
	for _, r := range bare {
		switch r {
		case '{':
			depth++
		case '}':
			if depth--; depth < 0 {
				return nil, wrong(body, "}", "", "the rule closes a brace that it did not open")
			}
		}
	}
	if depth > 0 {
		return nil, wrong(body, "", "", "the rule has a brace that is not closed")
	}
	return words, nil
}
