package classic

import (
	"fmt"
	"strings"

	"knockkit/internal/tomldoc"
	"knockkit/protocol"
)

// readUFW reads what stands behind ufw. It makes its rules for both families, and
// for TCP and UDP unless it is told one.
func readUFW(c *cursor) (rule, *trouble) {
	u := &ufw{rule: rule{family: protocol.Both}}
	for {
		w, ok := c.next()
		if !ok {
			return u.end(c)
		}
		if t := u.word(w, c); t != nil {
			return rule{}, t
		}
	}
}

type ufw struct {
	rule
	allows, from bool
	side         string // "from" or "to": whose port follows
	port, proto  word
}

func (u *ufw) word(w word, c *cursor) (t *trouble) {
	switch w.text {
	case "--force", "in", "prepend":
		return nil
	case "delete":
		u.remove = true
		return nil
	case "allow":
		u.allows = true
		if !u.remove && (c.i < 2 || c.words[c.i-2].text != "prepend") {
			u.mild = append(u.mild, behind(w.at))
		}
		return nil
	}
	if w.text == "limit" {
		return w.fault(w.at, "write allow, and import again", "a limit drops who connects six times in 30 seconds, and a profile counts no connections")
	}
	v, t := c.value(w)
	if t != nil {
		if u.allows && !u.from {
			return everybody(c.all(), u.forKnocker(w)) // ufw allow 22/tcp
		}
		return w.unknown()
	}
	switch w.text {
	case "app":
		return w.fault(v.at, fmt.Sprintf("`ufw app info %s` lists them: write `port PORT proto tcp` instead, and import again", v.text), "which ports ufw's application %s has is not in this file", tomldoc.Quote(v.text))
	case "insert":
	case "on":
		u.device = v.text
	case "from":
		u.side, u.from = "from", true
		return v.from(protocol.Both)
	case "to":
		if u.side = "to"; v.text != "any" {
			return u.address(v)
		}
	case "port":
		if u.side != "to" {
			return v.fault(v.at, "write `to any port` before it if this is the port to open, and import again", "this is the port that a connection comes from")
		}
		u.port = v
	case "proto":
		u.proto = v
	case "comment":
		u.mild = append(u.mild, trouble{at: v.at, mild: true, message: "the comment is left out", hint: "a profile has `description`"})
	default:
		return w.unknown()
	}
	return nil
}

// forKnocker returns the command for who knocked, instead of one for everybody; "" when w is no
// port.
func (u *ufw) forKnocker(w word) string {
	port, proto, _ := strings.Cut(w.text, "/")
	of := &rule{}
	if of.addPorts(word{port, w.at}, "tcp") != nil {
		return ""
	}
	command := "ufw allow from " + knocker + " to any port " + port
	if u.remove {
		command = strings.Replace(command, "allow", "delete allow", 1)
	}
	if proto != "" {
		command += " proto " + proto
	}
	return command
}

func (u *ufw) end(c *cursor) (rule, *trouble) {
	at := c.all()
	switch {
	case !u.allows:
		return rule{}, u.port.fault(at, "", "the command allows nothing: a profile can only let somebody in")
	case !u.from:
		return rule{}, everybody(at, "")
	case u.port.text == "":
		return rule{}, everything(at)
	}
	protos := []string{"tcp", "udp"}
	switch u.proto.text {
	case "", "any":
		if strings.ContainsAny(u.port.text, ",:") {
			return rule{}, u.port.fault(u.port.at, "write proto tcp (or udp), and import again", "ufw refuses several ports without a protocol: this command has never opened anything")
		}
	case "tcp", "udp":
		protos = []string{u.proto.text}
	default:
		return rule{}, u.proto.fault(u.proto.at, "", "a profile opens ports of TCP and UDP, not %s", tomldoc.Quote(u.proto.text))
	}
	var wrong *trouble
	for _, proto := range protos {
		if t := u.addPorts(u.port, proto); t != nil && wrong == nil {
			wrong = t
		}
	}
	if wrong != nil && (len(u.ports) == 0 || strings.Trim(u.port.text, "0123456789") == "") {
		return rule{}, wrong
	}
	return u.rule, nil // a service has the protocols that it has: ssh is TCP's alone
}
