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
	c := &cursor{words: words}
	name, _ := c.next()
	var (
		r rule
		t *trouble
	)
	tool := path.Base(name.text)
	if dir := path.Dir(name.text); dir != "." && !slices.Contains([]string{"/sbin", "/usr/sbin", "/usr/local/sbin", "/bin", "/usr/bin", "/usr/local/bin"}, dir) {
		tool = "" // somebody's own program, whatever its name
	}
	switch tool {
	case "iptables", "iptables-nft", "iptables-legacy":
		r, t = readIPTables(c, protocol.IPv4)
	case "ip6tables", "ip6tables-nft", "ip6tables-legacy":
		r, t = readIPTables(c, protocol.IPv6)
	case "ufw":
		r, t = readUFW(c)
	case "nft":
		r, t = readNFT(c)
	case "firewall-cmd":
		r, t = readFirewalld(c)
	default:
		return rule{}, &trouble{at: name.at, message: fmt.Sprintf("%s is not a firewall command that is understood here, and a profile runs no commands", tomldoc.Quote(path.Base(name.text))),
			hint: "let the client run it behind the knock (knock PROFILE -- COMMAND), put rules into [opened] of a profile, or let the classic daemon keep this section"}
	}
	if t != nil {
		return rule{}, t
	}
	return r, nil
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
	return w.fault(w.at, "", "what %s means for who gets in is not known here", tomldoc.Quote(w.text))
}

// everybody and everything are the two ways to open more than a profile can.
func everybody(at position) *trouble {
	return word{}.fault(at, "write %IP% as the source if who knocked was meant, and import again",
		"the command has no %%IP%%: it lets everybody in as soon as one has knocked, and a profile only who knocked")
}

func everything(at position) *trouble {
	return word{}.fault(at, "name the ports that are needed, and import again",
		"the command names no port: it opens all of them, and a profile only those that it names")
}

// from checks a source.
func (w word) from() *trouble {
	switch {
	case w.text == knocker, w.text == knocker+"/32", w.text == knocker+"/128":
		return nil
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

func sortPorts(ports []protocol.PortRange) []protocol.PortRange {
	sorted := slices.Clone(ports)
	slices.SortFunc(sorted, func(a, b protocol.PortRange) int {
		return protocol.Knock{Proto: a.Proto, Port: a.First}.Compare(protocol.Knock{Proto: b.Proto, Port: b.First})
	})
	return slices.Compact(sorted)
}
