package classic

import (
	"slices"
	"strings"
)

// What iptables takes depends on the matches that are named before: -m multiport brings --dports,
// and -p tcp brings --dport and --syn.

// match takes the name behind -m.
func (p *ipt) match(v word) *trouble {
	if v.text != "tcp" && v.text != "udp" && !slices.Contains(idle, v.text) {
		return v.unknown()
	}
	if t := p.idles(v.at, v.text); t != nil {
		return t
	}
	p.matches[v.text] = false
	return nil
}

// idle are the matches that iptables refuses without an option of theirs.
var idle = []string{"state", "conntrack", "comment", "multiport"}

// idles refuses a match of which no option was there.
func (p *ipt) idles(at position, match string) *trouble {
	if had, loaded := p.matches[match]; loaded && !had && slices.Contains(idle, match) {
		return word{match, at}.refused("-m " + match + " needs an option of its own")
	}
	return nil
}

// of counts an option of a match, which may have it once.
func (p *ipt) of(match string, w word) *trouble {
	had, loaded := p.matches[match]
	switch {
	case !loaded && match == "tcp":
		return w.refused("it needs -p tcp before it")
	case !loaded:
		return w.refused("it needs -m " + match + " before it")
	case had:
		return w.refused("it is there twice")
	}
	p.matches[match] = true
	return nil
}

// ofPorts returns the protocol of -p as far as it was read, "" for one without ports.
func (p *ipt) ofPorts() string {
	return map[string]string{"tcp": "tcp", "6": "tcp", "udp": "udp", "17": "udp"}[strings.ToLower(p.proto.text)]
}

// portsOf finds the match that an option with ports belongs to: multiport has both spellings,
// and takes lists; tcp and udp have one, and take it first.
func (p *ipt) portsOf(w, ports word) *trouble {
	_, tcp := p.matches["tcp"]
	_, udp := p.matches["udp"]
	_, many := p.matches["multiport"]
	if strings.HasSuffix(w.text, "s") || many && !tcp && !udp {
		count := 1 + strings.Count(ports.text, ",") + strings.Count(ports.text, ":")
		for item := range strings.SplitSeq(ports.text, ",") {
			if strings.HasPrefix(item, ":") || strings.HasSuffix(item, ":") {
				return ports.refused("a range has both its ends behind -m multiport")
			}
		}
		if count > 15 {
			return ports.refused("-m multiport takes 15 ports, a range counting as two")
		}
		return p.of("multiport", w)
	}
	p.early = p.proto.text == "" && !tcp && !udp
	if strings.Contains(ports.text, ",") {
		return ports.refused("several ports need -m multiport --dports")
	}
	if proto := p.ofPorts(); proto != "" && !tcp && !udp {
		p.matches[proto] = false
	}
	return nil
}

// matched checks at the end of the command that all its matches are complete, and of its protocol.
func (p *ipt) matched(at position, proto string) *trouble {
	for _, m := range idle {
		if t := p.idles(at, m); t != nil {
			return t
		}
	}
	for _, m := range []string{"tcp", "udp"} {
		if _, loaded := p.matches[m]; loaded && m != proto {
			return p.proto.refused("-m " + m + " needs -p " + m)
		}
	}
	return nil
}
