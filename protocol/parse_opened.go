package protocol

import (
	"slices"
	"strings"
	"unicode"

	"knockkit/internal/tomldoc"
)

// maxBody is how long an extra rule may be, in bytes: the tools that read rules
// have limits of their own and do not say so kindly.
const maxBody = 1024

// opened reads the extra rule bodies. The checks are against mistakes, not
// against an attacker: who writes profiles may change the rules anyway.
func (a *parser) opened() {
	raw := a.raw.Opened
	if raw == nil {
		return
	}
	a.p.Opened.IPTables = a.bodies(raw.IPTables, checkIPTables)
	a.p.Opened.IP6Tables = a.bodies(raw.IP6Tables, checkIPTables)
	a.p.Opened.NFTables = a.bodies(raw.NFTables, checkNFTables)
}

func (a *parser) bodies(f *tomldoc.Texts, check func(string) error) []string {
	var bodies []string
	for _, item := range a.list(f, "leave the key out for no extra rules") {
		err := checkBody(item.Value)
		if err == nil {
			err = check(item.Value)
		}
		if err != nil {
			a.text(item, err)
		} else if verdict := returns(item.Value); verdict != "" {
			at := strings.Index(item.Value, verdict)
			a.doc.Warn(a.doc.Inside(item.At, item.Value, at, at+len(verdict)), verdict+" lets the packet in with nftables, and shuts it out with iptables",
				"accept the packet, or turn the condition round")
		}
		bodies = append(bodies, item.Value)
	}
	return bodies
}

func checkBody(body string) error {
	switch {
	case strings.TrimSpace(unquote(body)) == "":
		return wrong(body, "", "remove it", "the rule is empty")
	case strings.ContainsAny(body, "\r\n"):
		return wrong(body, "", "write every rule as an item of its own", "a rule is one line")
	case strings.ContainsFunc(body, func(r rune) bool { return unicode.IsControl(r) && r != '\t' }):
		return wrong(body, "", "", "a rule has no control characters")
	case len(body) > maxBody:
		return wrong(body, "", "", "the rule has %d bytes; at most %d are possible", len(body), maxBody)
	case strings.Count(strings.ReplaceAll(body, `\"`, ""), `"`)%2 != 0:
		return wrong(body, "", "", "the rule has a quote that is not closed")
	}
	return nil
}

// checkIPTables refuses commands: the rule's place is not the profile's to choose.
func checkIPTables(body string) error {
	commands := []string{
		"-A", "-C", "-D", "-E", "-F", "-I", "-L", "-N", "-P", "-R", "-S", "-V", "-X", "-Z", "-t",
		"--append", "--check", "--delete", "--delete-chain", "--flush", "--insert", "--list", "--list-rules",
		"--new-chain", "--policy", "--rename-chain", "--replace", "--table", "--version", "--zero",
	}
	words := strings.Fields(unquote(body))
	if slices.Contains([]string{"iptables", "ip6tables"}, words[0]) {
		return wrong(body, words[0], `only what follows the chain's name belongs here, as "-j CONNMARK --set-mark 7"`, "%s is a command, not part of a rule", words[0])
	}
	for _, w := range words {
		option, _, _ := strings.Cut(w, "=")
		if slices.Contains(commands, option) || len(w) > 2 && w[0] == '-' && w[1] != '-' && slices.Contains(commands, w[:2]) {
			return wrong(body, w, `only what follows the chain's name belongs here, as "-j CONNMARK --set-mark 7"`, "%s is a command, not part of a rule", tomldoc.Quote(w))
		}
	}
	return nil
}

// returns finds the word by which a rule ends a profile's own rules early, or "". Where
// that leads to is the affair of a backend: the host's own rules, or the gate's others.
func returns(body string) string {
	for _, w := range strings.Fields(unquote(body)) {
		if slices.Contains([]string{"RETURN", "-jRETURN", "--jump=RETURN", "return"}, w) {
			return w
		}
	}
	return ""
}

// checkNFTables refuses commands, and what would end the statement early.
func checkNFTables(body string) error {
	commands := []string{"nft", "add", "create", "insert", "replace", "delete", "destroy", "flush", "list", "rename", "table", "chain", "rule", "include", "define"}
	bare := unquote(body)
	words := strings.Fields(bare)
	switch {
	// "add @set { … }" and "delete @set { … }" are statements too.
	case slices.Contains(commands, words[0]) && (len(words) < 2 || words[1][0] != '@'):
		return wrong(body, words[0], `only statements belong here, as "ct mark set 7"`, "%s begins a command, not a statement", tomldoc.Quote(words[0]))
	case strings.Contains(bare, ";"):
		return wrong(body, ";", "write every rule as an item of its own", "a semicolon ends the rule")
	case strings.Contains(bare, "#"):
		return wrong(body, "#", "comments belong into the profile, outside of the string", "what follows # would be a comment")
	case strings.Count(bare, "{") != strings.Count(bare, "}"):
		return wrong(body, "", "", "the rule has a brace that is not closed")
	}
	return nil
}

// unquote replaces every "quoted part" of a rule by one word, so that what it
// says is not taken for an option.
func unquote(body string) string {
	var b strings.Builder
	parts := strings.Split(strings.ReplaceAll(body, `\"`, ""), `"`)
	for i, part := range parts {
		if i%2 == 0 {
			b.WriteString(part)
		} else {
			b.WriteByte('q')
		}
	}
	return b.String()
}
