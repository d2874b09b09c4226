package classic

import (
	"slices"
	"strings"

	"knockkit/internal/tomldoc"
	"knockkit/protocol"
)

// readIPTables reads the arguments of iptables or ip6tables.
func readIPTables(c *cursor, family protocol.Family) (rule, *trouble) {
	p := &ipt{rule: rule{family: family}, once: map[string]bool{}, matches: map[string]bool{}}
	for {
		w, ok := c.next()
		if !ok {
			return p.end(c)
		}
		if t := p.option(w, c); t != nil {
			return rule{}, t
		}
	}
}

// ipt is an iptables command that is being read.
type ipt struct {
	rule
	chain, proto, target word
	dports               word
	state                bool
	early                bool            // the ports stand before the protocol
	once                 map[string]bool // kinds of options that were there
	matches              map[string]bool // what -m named: whether an option of it was there
}

func (p *ipt) option(w word, c *cursor) (t *trouble) {
	var v word
	switch w.text {
	case "-v", "--verbose":
		return nil
	case "-n", "--numeric":
		return w.refused("it is about lists alone")
	case "--syn":
		if _, loaded := p.matches["tcp"]; !loaded && p.ofPorts() == "tcp" {
			p.matches["tcp"] = false
		}
		return p.of("tcp", w)
	case "-w", "--wait", "-W", "--wait-interval":
		if n := c.peek(); n != "" && strings.Trim(n, "0123456789") == "" {
			c.next()
		}
		return nil
	}
	kind, known := iptablesOptions[w.text]
	if !known {
		return w.unknown()
	}
	if v, t = c.value(w); t != nil {
		return t
	}
	if kind != "" {
		if p.once[kind] {
			return w.refused("another " + kind + " stands before it")
		}
		p.once[kind] = true
	}
	switch w.text {
	case "-A", "--append":
		p.chain = v
		p.mild = append(p.mild, behind(w.at))
	case "-I", "--insert":
		p.chain = v
		if n := c.peek(); n != "" && strings.Trim(n, "0123456789") == "" {
			at, _ := c.next()
			if strings.Trim(n, "0") == "" {
				return at.refused("the first rule has number 1")
			}
			if n != "1" {
				p.mild = append(p.mild, behind(at.at))
			}
		}
	case "-C", "--check":
		p.chain, p.check = v, true
	case "-D", "--delete":
		p.chain, p.remove = v, true
		if n := c.peek(); n != "" && strings.Trim(n, "0123456789") == "" {
			return v.fault(v.at, "", "which rule has number %s is not known here", n)
		}
	case "-t", "--table":
		if v.text != "filter" {
			return v.fault(v.at, forContainers, "a profile is about connections to this host (table filter, chain INPUT); this rule is in table %s", tomldoc.Quote(v.text))
		}
	case "-s", "--source", "--src":
		return v.from(p.family)
	case "-d", "--destination", "--dst":
		return p.address(v)
	case "-i", "--in-interface":
		if v.text == "" {
			return w.refused("it names no interface")
		}
		if v.text != "+" { // the pattern of all names
			p.device = v.text
		}
	case "-p", "--protocol", "--proto":
		p.proto = v
	case "--dport", "--destination-port", "--dports", "--destination-ports":
		if p.dports.text != "" {
			return w.unknown() // both at once: no packet is meant
		}
		p.dports = v
		return p.portsOf(w, v)
	case "-m", "--match":
		return p.match(v)
	case "--state", "--ctstate":
		p.state = true
		states := strings.Split(strings.ToUpper(v.text), ",")
		if !slices.Contains(states, "NEW") {
			return v.fault(v.at, "", "new connections are not among those that the rule lets in")
		}
		for _, s := range states {
			if !slices.Contains([]string{"NEW", "ESTABLISHED", "RELATED", "INVALID", "UNTRACKED"}, s) && (w.text == "--state" || s != "SNAT" && s != "DNAT") {
				return v.unknown()
			}
		}
		return p.of(map[string]string{"--state": "state", "--ctstate": "conntrack"}[w.text], w)
	case "--comment":
		p.mild = append(p.mild, trouble{at: v.at, mild: true, message: "the comment is left out", hint: "a profile has `description`"})
		return p.of("comment", w)
	case "-j", "--jump":
		p.target = v
	}
	return nil
}

// iptablesOptions are those whose value is understood, each with its kind: iptables takes one of
// a kind. "" where the option may come again, or its match says how often.
var iptablesOptions = map[string]string{
	"-A": "chain", "--append": "chain", "-I": "chain", "--insert": "chain",
	"-D": "chain", "--delete": "chain", "-C": "chain", "--check": "chain",
	"-s": "-s", "--source": "-s", "--src": "-s", "-d": "-d", "--destination": "-d", "--dst": "-d",
	"-i": "-i", "--in-interface": "-i", "-p": "-p", "--protocol": "-p", "--proto": "-p", "-j": "-j", "--jump": "-j",
	"-t": "", "--table": "", "-m": "", "--match": "", "--state": "", "--ctstate": "", "--comment": "",
	"--dport": "", "--destination-port": "", "--dports": "", "--destination-ports": "",
}

// forContainers is for rules about what a container engine publishes.
const forContainers = `for a port that a container publishes write a profile by hand, with place = "prerouting"`

// end checks that the command was complete.
func (p *ipt) end(c *cursor) (rule, *trouble) {
	at := c.all()
	switch {
	case p.chain.text == "":
		return rule{}, p.chain.fault(at, "", "the command neither adds a rule nor takes one away")
	case p.chain.text == "FORWARD" || p.chain.text == "DOCKER-USER":
		return rule{}, p.chain.fault(p.chain.at, forContainers, "a profile is about connections to this host (chain INPUT), not about what it forwards")
	case p.chain.text != "INPUT":
		return rule{}, p.chain.fault(p.chain.at, "if that chain is reached from INPUT and does nothing else, write INPUT here and import again",
			"a profile is about connections to this host (chain INPUT); what comes through %s is not known here", tomldoc.Quote(p.chain.text))
	case p.target.text != "ACCEPT":
		return rule{}, p.target.fault(or(p.target, at), "", "the rule does not accept: a profile can only let somebody in")
	case !p.once["-s"]:
		return rule{}, everybody(at, strings.Replace(at.value(), " -j ", " -s "+knocker+" -j ", 1))
	case p.dports.text != "" && (p.proto.text == "" || p.early):
		return rule{}, p.dports.fault(p.dports.at, "write -p tcp (or udp) before it, and import again", "iptables refuses a port without -p: this command has never opened anything")
	case p.dports.text == "":
		return rule{}, everything(at)
	}
	proto := p.ofPorts()
	if proto == "" {
		return rule{}, p.proto.fault(p.proto.at, "", "a profile opens ports of TCP and UDP, not %s", tomldoc.Quote(p.proto.text))
	}
	if t := p.matched(at, proto); t != nil {
		return rule{}, t
	}
	if !p.state {
		p.mild = append(p.mild, everyPacket(at))
	}
	return p.rule, p.addPorts(p.dports, proto)
}

func or(w word, at position) position {
	if w.at.line > 0 {
		return w.at
	}
	return at
}

// everyPacket is said of a rule that does not ask for the connection's state.
func everyPacket(at position) trouble {
	return trouble{at: at, mild: true, message: "the rule accepts every packet, the gate those that begin a connection: what follows is left to the host's other rules",
		hint: "they must let it through (iptables: -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT), as those of nearly all hosts do"}
}

// behind is said of a rule that is not the first of its chain.
func behind(at position) trouble {
	return trouble{at: at, mild: true, message: "rules before this one came first; the gate is in front of all of them",
		hint: "an address that an earlier rule drops, as fail2ban's do, gets in when it has knocked"}
}
