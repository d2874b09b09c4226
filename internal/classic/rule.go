package classic

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"knockkit/internal/tomldoc"
	"knockkit/protocol"
	"knockkit/protocol/format"
)

// knocker is the text that the daemon replaces by the address that knocked.
const knocker = "%IP%"

// rule is the effect of one firewall command: whose packets it lets in, and where to.
type rule struct {
	remove  bool // it takes the rule away
	check   bool // it asks whether the rule is there
	family  protocol.Family
	ports   []protocol.PortRange
	device  string
	to      string        // an address of the host; "" for any
	timeout time.Duration // after which the tool itself takes it away; 0: not
	mild    []trouble     // what is different in a profile
	never   *trouble      // why a command that takes a rule away has never worked
}

// readRule reads the words of one command.
func readRule(words []word) (rule, *trouble) {
	words = withoutSudo(words)
	c := &cursor{words: words}
	name, _ := c.next()
	switch tool(name) {
	case "iptables", "iptables-nft", "iptables-legacy":
		return readIPTables(c, protocol.IPv4)
	case "ip6tables", "ip6tables-nft", "ip6tables-legacy":
		return readIPTables(c, protocol.IPv6)
	case "ufw":
		return readUFW(c)
	case "nft":
		return readNFT(c)
	case "firewall-cmd":
		return readFirewalld(c)
	}
	return rule{}, notUnderstood(words)
}

// tool returns the name of a program of the system, "" for somebody's own program whatever its name.
func tool(name word) string {
	if dir := path.Dir(name.text); dir != "." && !slices.Contains([]string{"/sbin", "/usr/sbin", "/usr/local/sbin", "/bin", "/usr/bin", "/usr/local/bin"}, dir) {
		return ""
	}
	return path.Base(name.text)
}

// withoutSudo returns the command that sudo runs as root.
func withoutSudo(words []word) []word {
	if tool(words[0]) != "sudo" {
		return words
	}
	rest := words[1:]
	for len(rest) > 0 && slices.Contains([]string{"-n", "--non-interactive", "-E", "--"}, rest[0].text) {
		rest = rest[1:]
	}
	if len(rest) == 0 || strings.HasPrefix(rest[0].text, "-") || strings.Contains(rest[0].text, "=") {
		return words
	}
	return rest
}

// cursor walks the words of a command.
type cursor struct {
	words []word
	i     int
}

// next returns the next word. An option with its value, as --dport=22, is two.
func (c *cursor) next() (word, bool) {
	if c.i >= len(c.words) {
		return word{}, false
	}
	w := c.words[c.i]
	if name, value, ok := strings.Cut(w.text, "="); ok && strings.HasPrefix(name, "--") {
		c.words = slices.Clone(c.words)
		c.words[c.i] = word{value, w.at}
		return word{name, w.at}, true
	}
	c.i++
	return w, true
}

// peek returns the text of the next word, "" at the end.
func (c *cursor) peek() string {
	if c.i >= len(c.words) {
		return ""
	}
	return c.words[c.i].text
}

// value returns the word behind an option.
func (c *cursor) value(of word) (word, *trouble) {
	w, ok := c.next()
	if !ok {
		return word{}, w.fault(of.at, "", "%s is the last word", tomldoc.Quote(of.text))
	}
	return w, nil
}

// all is the place of the whole command.
func (c *cursor) all() position {
	at := c.words[0].at
	at.end = c.words[len(c.words)-1].at.end
	return at
}

func (word) fault(at position, hint, format string, args ...any) *trouble {
	return &trouble{at: at, message: fmt.Sprintf(format, args...), hint: hint}
}

// unknown refuses a word that may change which packets are let in, and that we do not know.
func (w word) unknown() *trouble {
	hint := ""
	if rest := strings.TrimLeft(w.text, "\u2013\u2014"); rest != w.text { // a page made one dash of two hyphens
		hint = "did you mean --" + rest + "? Write it with hyphens, and import again"
	}
	return w.fault(w.at, hint, "what %s means for who gets in is not known here", tomldoc.Quote(w.text))
}

// refused is about a word for which the tool refuses the whole command, whatever the rest is.
func (w word) refused(why string) *trouble {
	return w.fault(w.at, "", "the tool refuses %s: %s; this command has never worked", tomldoc.Quote(w.text), why)
}

// everybody and everything are the two ways to open more than a profile can. instead is the
// command for who knocked; "" where it is not known.
func everybody(at position, instead string) *trouble {
	hint := "write %IP% as the source if who knocked was meant, and import again"
	if instead != "" && instead != at.value() {
		hint = fmt.Sprintf("if who knocked was meant, write `%s`, and import again", instead)
	}
	return word{}.fault(at, hint,
		"the command has no %%IP%%: it lets everybody in as soon as one has knocked, and a profile only who knocked")
}

func everything(at position) *trouble {
	return word{}.fault(at, "name the ports that are needed, and import again",
		"the command names no port: it opens all of them, and a profile only those that it names")
}

// from checks a source; family is Both where the command does not say which.
func (w word) from(family protocol.Family) *trouble {
	switch {
	case w.text == knocker, w.text == knocker+"/32", w.text == knocker+"/128" && family != protocol.IPv4:
		return nil
	case w.text == knocker+"/128":
		return w.refused("an IPv4 address has 32 bits")
	case strings.HasPrefix(w.text, knocker+"/"):
		return w.fault(w.at, "write it without the length, import again, and add the profile's key `prefix`", "the command lets the neighbours of who knocked in, too")
	}
	return w.fault(w.at, "", "the command lets in %s, and a profile only who knocked", tomldoc.Quote(w.text))
}

// addPorts adds ports as iptables and others write them: "22", "ssh", "6000:6010",
// several with commas.
func (r *rule) addPorts(w word, proto string) *trouble {
	for item := range strings.SplitSeq(w.text, ",") {
		first, last, isRange := strings.Cut(strings.TrimSpace(item), ":")
		if isRange {
			if first == "" {
				first = "1"
			}
			if last == "" {
				last = "65535"
			}
			first += "-" + last
		}
		p, err := format.ParsePortRange(first + "/" + proto)
		if err != nil {
			hint := ""
			if e := new(format.SyntaxError); errors.As(err, &e) {
				hint = e.Hint
			}
			return w.fault(w.at, hint, "%s", err)
		}
		r.ports = append(r.ports, p)
	}
	return nil
}

// address sets where packets must go to.
func (r *rule) address(w word) *trouble {
	if w.text == knocker {
		return w.fault(w.at, "", "%%IP%% is the client's address, and this place needs one of the host")
	}
	prefix, err := hostAddress(w.text)
	if err != nil {
		return w.fault(w.at, "", "%s is not one address", tomldoc.Quote(w.text))
	}
	r.to = prefix
	return nil
}

// covers reports whether the rule is about all that the other one lets in.
func (r rule) covers(o rule) bool {
	return (r.family == o.family || r.family == protocol.Both) && r.device == o.device && r.to == o.to && slices.Equal(sortPorts(r.ports), sortPorts(o.ports))
}

// same reports whether both rules let in the same packets.
func (r rule) same(o rule) bool { return r.covers(o) && o.covers(r) }

func sortPorts(ports []protocol.PortRange) []protocol.PortRange {
	sorted := slices.Clone(ports)
	slices.SortFunc(sorted, func(a, b protocol.PortRange) int {
		return protocol.Knock{Proto: a.Proto, Port: a.First}.Compare(protocol.Knock{Proto: b.Proto, Port: b.First})
	})
	return slices.Compact(sorted)
}
