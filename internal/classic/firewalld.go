package classic

import (
	"strings"
	"time"

	"knockkit/internal/tomldoc"
	"knockkit/protocol"
	"knockkit/protocol/format"
)

// readFirewalld reads the arguments of firewall-cmd: a rich rule.
func readFirewalld(c *cursor) (rule, *trouble) {
	var (
		r    rule
		rich word
	)
	for {
		w, ok := c.next()
		if !ok {
			break
		}
		switch w.text {
		case "-q", "--quiet":
			continue
		case "--permanent":
			return rule{}, w.fault(w.at, "", "a permanent rule comes back at every start, and opens nothing before the next reload")
		case "--add-port", "--add-service", "--add-protocol":
			return rule{}, everybody(c.all())
		}
		v, t := c.value(w)
		if t != nil {
			return rule{}, w.unknown()
		}
		switch w.text {
		case "--zone":
			r.mild = append(r.mild, trouble{at: w.at, mild: true, message: "which interfaces the zone has is not in this file: the profile is about all of them", hint: "a profile has `interface`"})
		case "--add-rich-rule", "--remove-rich-rule":
			if rich.text != "" {
				return rule{}, w.unknown() // several rules: make several commands of them
			}
			rich, r.remove = v, w.text == "--remove-rich-rule"
		case "--timeout":
			if r.timeout, t = firewalldTime(v); t != nil {
				return rule{}, t
			}
		default:
			return rule{}, w.unknown()
		}
	}
	if rich.text == "" {
		return rule{}, rich.fault(c.all(), "", "the command neither adds a rich rule nor removes one")
	}
	r.mild = append(r.mild, ownTable(c.all()))
	t := r.rich(rich)
	return r, t
}

// firewalldTime reads "60", "60s", "1m" or "1h".
func firewalldTime(w word) (time.Duration, *trouble) {
	text := w.text
	if strings.Trim(text, "0123456789") == "" {
		text += "s"
	}
	d, err := format.ParseDuration(text)
	if err != nil {
		return 0, w.fault(w.at, "", "%s", err)
	}
	return d, nil
}

// rich reads a rich rule: names with values, which belong to the element before.
func (r *rule) rich(w word) *trouble {
	var element, port, proto string
	from, accepts := false, false
	for item := range strings.FieldsSeq(w.text) {
		name, value, _ := strings.Cut(item, "=")
		value = strings.Trim(value, `"'`)
		switch name {
		case "rule":
		case "source", "destination":
			element = name
		case "family":
			family, known := map[string]protocol.Family{"ipv4": protocol.IPv4, "ipv6": protocol.IPv6}[value]
			if !known {
				return w.fault(w.at, "", "there is no family %s", tomldoc.Quote(value))
			}
			r.family = family
		case "address":
			of := word{value, w.at}
			t := of.from()
			if from = from || element == "source"; element == "destination" {
				t = r.address(of)
			}
			if t != nil {
				return t
			}
		case "port":
			if value != "" {
				port = value
			}
		case "protocol":
			proto = value
		case "accept":
			accepts = true
		default:
			return word{item, w.at}.unknown()
		}
	}
	switch {
	case !accepts:
		return w.fault(w.at, "", "the rule does not accept: a profile can only let somebody in")
	case !from:
		return everybody(w.at)
	case r.family == protocol.Both:
		return w.fault(w.at, `write family="ipv4" (or ipv6), and import again`, "firewalld refuses an address without its family: this command has never opened anything")
	case port == "" || proto == "":
		return everything(w.at)
	}
	return r.addPorts(word{strings.Replace(port, "-", ":", 1), w.at}, proto)
}
