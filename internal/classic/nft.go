package classic

import (
	"slices"
	"strings"

	"knockkit/internal/tomldoc"
	"knockkit/protocol"
)

// readNFT reads the arguments of nft.
func readNFT(c *cursor) (rule, *trouble) {
	n := &nft{cursor: &cursor{words: append(c.words[:1:1], nftWords(c.words[1:])...), i: 1}}
	if t := n.head(); t != nil {
		return rule{}, t
	}
	for {
		w, ok := n.next()
		if !ok {
			return n.end()
		}
		if t := n.statement(w); t != nil {
			return rule{}, t
		}
	}
}

// nftWords splits words as nft does: braces and commas stand for themselves, and
// a word of the shell may hold several.
func nftWords(words []word) []word {
	var all []word
	for _, w := range words {
		for i, part := range strings.Split(w.text, `"`) {
			if i%2 == 1 { // between quotes
				all = append(all, word{part, w.at})
				continue
			}
			part = strings.NewReplacer("{", " { ", "}", " } ", ",", " , ").Replace(part)
			for item := range strings.FieldsSeq(part) {
				all = append(all, word{item, w.at})
			}
		}
	}
	return all
}

// ownTable is said of hosts whose rules are nftables' own: there another table's
// drop comes after whatever we accept.
func ownTable(at position) trouble {
	return trouble{at: at, mild: true, message: "an accept of the gate is not final here: the host's own table must let the port through, for everybody",
		hint: "do that after the profile is installed: the gate closes the port to who has not knocked (knockd doctor says whether it is needed)"}
}

// nft is an nft command that is being read.
type nft struct {
	*cursor
	rule
	from, accepts, state bool
	table                protocol.Family // Both: of inet
	ended                bool            // a comment was there, and nothing follows it
}

// head reads up to the chain's name.
func (n *nft) head() *trouble {
	what, _ := n.next()
	object, _ := n.next()
	switch {
	case object.text == "element":
		return object.fault(n.all(), "`nft list ruleset` shows the rule that asks for the set: write `nft insert rule inet filter input ip saddr %IP% tcp dport PORT accept` with its port, and import again",
			"the address goes into a set, and what the set opens is not in this file")
	case object.text != "rule" || !slices.Contains([]string{"add", "insert", "delete"}, what.text):
		return what.fault(n.all(), "", "the command neither adds a rule nor takes one away")
	}
	switch what.text {
	case "delete":
		n.remove = true
		n.never = &trouble{at: n.all(), mild: true, message: "nft deletes rules by their handle only: this command has never worked; the lease ends all the same"}
	case "add":
		n.mild = append(n.mild, behind(what.at))
	}
	n.mild = append(n.mild, ownTable(n.all()))
	n.table = protocol.IPv4 // that of nft where none is named
	if f, named := nftFamilies[n.peek()]; named {
		n.table = f
		n.next()
	}
	n.next() // the table's name says nothing
	chain, ok := n.next()
	if !ok || !strings.EqualFold(chain.text, "input") {
		return chain.fault(or(chain, n.all()), "if that chain has hook input, call it input here and import again", "a profile is about connections to this host; what comes through chain %s is not known here", tomldoc.Quote(chain.text))
	}
	return nil
}

// nftFamilies are the families of tables whose chains have a place like input.
var nftFamilies = map[string]protocol.Family{"ip": protocol.IPv4, "ip6": protocol.IPv6, "inet": protocol.Both}

// refuses is about a word for which nft refuses the command. That it refuses to delete is said already.
func (n *nft) refuses(w word, why string) *trouble {
	if n.remove {
		return nil
	}
	return w.refused(why)
}

// ofFamily checks that a word is about addresses of the family of the table and of the words before.
func (n *nft) ofFamily(w word) *trouble {
	f := nftFamilies[w.text]
	if n.table != protocol.Both && n.table != f {
		return n.refuses(w, "its table, or another word of the rule, is of the other family")
	}
	n.table = f
	return nil
}

func (n *nft) statement(w word) (t *trouble) {
	if n.ended || n.accepts && w.text != "comment" {
		if t := n.refuses(w, "nothing but a comment stands behind accept"); t != nil {
			return t
		}
	}
	switch w.text {
	case "counter":
		return nil
	case "accept":
		n.accepts = true
		return nil
	}
	v, t := n.value(w)
	if t != nil {
		return w.unknown()
	}
	switch w.text + " " + v.text {
	case "ip saddr", "ip6 saddr", "ip daddr", "ip6 daddr":
		if t := n.ofFamily(w); t != nil {
			return t
		}
		family := nftFamilies[w.text]
		if w, t = n.value(v); t != nil {
			return t
		}
		if v.text == "saddr" {
			n.from, n.family = true, family
			return w.from(family)
		}
		before := n.to
		if t = n.address(w); t == nil && before != "" && before != n.to {
			return v.unknown() // both at once: no packet is meant
		}
		return t
	case "tcp dport", "udp dport":
		if len(n.ports) > 0 {
			return v.unknown() // both at once: no packet is meant
		}
		return n.each(v, func(item word) *trouble {
			if strings.Contains(item.text, ":") {
				return item.refused("a range is written with a hyphen")
			}
			item.text = strings.Replace(item.text, "-", ":", 1)
			return n.addPorts(item, w.text)
		})
	case "ct state":
		n.state = true
		isNew := false
		t = n.each(v, func(item word) *trouble { isNew = isNew || item.text == "new"; return nil })
		if t == nil && !isNew {
			t = w.fault(v.at, "", "new connections are not among those that the rule lets in")
		}
		return t
	}
	switch w.text {
	case "iif", "iifname":
		if n.device != "" && n.device != v.text {
			return w.unknown() // both at once: no packet is meant
		}
		n.device = v.text
	case "comment":
		if !n.accepts {
			if t := n.refuses(w, "a comment is the last of a rule"); t != nil {
				return t
			}
		}
		n.ended = true
		n.mild = append(n.mild, trouble{at: v.at, mild: true, message: "the comment is left out", hint: "a profile has `description`"})
	default:
		return w.unknown()
	}
	return nil
}

// each calls f for one item, or for several: between braces, or states with commas.
func (n *nft) each(of word, f func(word) *trouble) *trouble {
	w, t := n.value(of)
	if t != nil {
		return t
	}
	inBraces := w.text == "{"
	for {
		if inBraces {
			if w, t = n.value(of); t != nil {
				return t
			}
			if w.text == "}" { // a comma may be the last
				return nil
			}
		}
		if t := f(w); t != nil {
			return t
		}
		switch next := n.peek(); {
		case next == ",":
			n.next()
		case next == "}" && inBraces:
		case inBraces:
			return w.refused("a comma is missing behind it")
		default:
			return nil
		}
		if !inBraces {
			if of.text == "dport" {
				return w.refused("several ports stand in braces")
			}
			if w, t = n.value(of); t != nil {
				return t
			}
		}
	}
}

func (n *nft) end() (rule, *trouble) {
	switch {
	case !n.accepts:
		return rule{}, word{}.fault(n.all(), "", "the rule does not accept: a profile can only let somebody in")
	case !n.from:
		return rule{}, everybody(n.all(), strings.Replace(n.all().value(), " accept", " ip saddr "+knocker+" accept", 1))
	case len(n.ports) == 0:
		return rule{}, everything(n.all())
	}
	if !n.state {
		n.mild = append(n.mild, everyPacket(n.all()))
	}
	return n.rule, nil
}
