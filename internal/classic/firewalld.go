package classic

import (
	"fmt"
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
			return rule{}, w.fault(w.at, "write the commands without --permanent and without --reload, and import again", "a permanent rule comes back at every start, and opens nothing before the next reload")
		case "--add-port", "--add-service", "--remove-port", "--remove-service":
			return rule{}, everybody(c.all(), richRule(w.text, c.peek()))
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
			if r.timeout, t = parseSeconds(v); t != nil {
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

// parseSeconds reads "60", "60s", "1m" or "1h", as firewalld and sleep do.
func parseSeconds(w word) (time.Duration, *trouble) {
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
	var element, port, proto, service string
	from, accepts := false, false
	for item := range strings.FieldsSeq(w.text) {
		name, value, _ := strings.Cut(item, "=")
		value = strings.Trim(value, `"'`)
		switch name {
		case "rule":
		case "source", "destination", "service":
			element = name
		case "name":
			if element != "service" || service != "" {
				return word{item, w.at}.unknown()
			}
			service = value
		case "family":
			family, known := map[string]protocol.Family{"ipv4": protocol.IPv4, "ipv6": protocol.IPv6}[value]
			if !known {
				return w.fault(w.at, "", "there is no family %s", tomldoc.Quote(value))
			}
			r.family = family
		case "address":
			of := word{value, w.at}
			t := of.from(r.family)
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
		return everybody(w.at, "")
	case r.family == protocol.Both:
		return w.fault(w.at, `write family="ipv4" (or ipv6), and import again`, "firewalld refuses an address without its family: this command has never opened anything")
	case service != "" && port+proto != "":
		return w.fault(w.at, "leave one of them out, and import again", "firewalld refuses a service and a port in one rule: this command has never opened anything")
	case service != "":
		return r.service(word{service, w.at})
	case port == "" || proto == "":
		return everything(w.at)
	}
	return r.addPorts(word{strings.Replace(port, "-", ":", 1), w.at}, proto)
}

// services are the ports of firewalld's services, as firewalld 1.3 comes with them. Left out are
// those that need more than ports: helpers, other protocols.
var services = map[string]string{
	"ssh": "22/tcp", "telnet": "23/tcp", "smtp": "25/tcp", "smtps": "465/tcp", "smtp-submission": "587/tcp",
	"http": "80/tcp", "https": "443/tcp", "http3": "443/udp", "imap": "143/tcp", "imaps": "993/tcp",
	"ldap": "389/tcp", "ldaps": "636/tcp", "mysql": "3306/tcp", "postgresql": "5432/tcp", "redis": "6379/tcp",
	"mongodb": "27017/tcp", "rdp": "3389/tcp", "vnc-server": "5900-5903/tcp", "cockpit": "9090/tcp",
	"openvpn": "1194/udp", "wireguard": "51820/udp",
}

// service adds the ports of one of firewalld's services.
func (r *rule) service(w word) *trouble {
	ports, proto, known := strings.Cut(services[w.text], "/")
	if !known {
		return w.fault(w.at, fmt.Sprintf(`"firewall-cmd --info-service=%s" lists them: write port port="PORT" protocol="tcp" instead, and import again`, w.text),
			"which ports firewalld's service %s has is not known here", tomldoc.Quote(w.text))
	}
	r.mild = append(r.mild, trouble{at: w.at, mild: true, message: fmt.Sprintf("the ports of the service %s are those that firewalld comes with", w.text),
		hint: fmt.Sprintf("if /etc/firewalld/services/%s.xml says otherwise, change `open`", w.text)})
	return r.addPorts(word{strings.Replace(ports, "-", ":", 1), w.at}, proto)
}

// richRule returns the command for who knocked, instead of one for everybody.
func richRule(option, value string) string {
	element := fmt.Sprintf(`service name="%s"`, value)
	if port, proto, isPort := strings.Cut(value, "/"); isPort {
		element = fmt.Sprintf(`port port="%s" protocol="%s"`, port, proto)
	}
	action := "--add-rich-rule"
	if strings.HasPrefix(option, "--remove") {
		action = "--remove-rich-rule"
	}
	return fmt.Sprintf(`firewall-cmd %s='rule family="ipv4" source address="%s" %s accept'`, action, knocker, element)
}
