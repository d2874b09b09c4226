package format

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"knockkit/internal/tomldoc"
	"knockkit/protocol"
)

// SyntaxError says what is wrong with a text that a person wrote: a knock, a
// port range, a length of time. Text[Start:End] is the part that is wrong.
type SyntaxError struct {
	Text       string
	Start, End int    // bytes
	Message    string // lower case, no full stop
	Hint       string // what to write instead; may be empty
}

func (e *SyntaxError) Error() string { return e.Message }

// wrong complains about one part of a text; "" for the whole.
func wrong(text, part, hint, message string, args ...any) *SyntaxError {
	e := &SyntaxError{Text: text, End: len(text), Hint: hint, Message: fmt.Sprintf(message, args...)}
	if i := strings.Index(text, part); part != "" && i >= 0 {
		e.Start, e.End = i, i+len(part)
	}
	return e
}

// ParseKnock reads a knock as a profile writes it: "icmp", "8000/tcp", or with
// the name of a service, "echo/tcp". The error is a [*SyntaxError].
func ParseKnock(s string) (protocol.Knock, error) {
	if s == "icmp" {
		return protocol.Knock{Proto: protocol.ICMP}, nil
	}
	port, proto, err := splitPort(s)
	if err != nil {
		return protocol.Knock{}, err
	}
	n, err := parsePort(s, port, proto)
	if err == nil {
		return protocol.Knock{Proto: proto, Port: n}, nil
	}
	if _, _, isRange := splitRange(port, proto); isRange {
		return protocol.Knock{}, wrong(s, port, "name one port of it", "a knock is one port, and %s is a range", tomldoc.Quote(port))
	}
	return protocol.Knock{}, err
}

// ParsePortRange reads what a profile opens: "3306/tcp", "6000-6010/tcp", or
// with the names of services. The error is a [*SyntaxError].
func ParsePortRange(s string) (protocol.PortRange, error) {
	if s == "icmp" {
		return protocol.PortRange{}, wrong(s, "", `write a port, as "3306/tcp"`, "icmp has no ports that could be opened")
	}
	ports, proto, err := splitPort(s)
	if err != nil {
		return protocol.PortRange{}, err
	}
	// The whole first: names of services have hyphens too, as "ftp-data".
	one, whole := parsePort(s, ports, proto)
	if whole == nil {
		return protocol.PortRange{Proto: proto, First: one, Last: one}, nil
	}
	if from, to, ok := strings.Cut(ports, ":"); ok {
		return protocol.PortRange{}, wrong(s, ports, fmt.Sprintf("write \"%s-%s/%s\"", from, to, proto), "a range of ports is written with a hyphen")
	}
	if half := strings.Trim(ports, "-"); half != ports && strings.Trim(half, "0123456789") == "" {
		return protocol.PortRange{}, wrong(s, ports, `write both ends, as "6000-6010/`+proto.String()+`"`, "the range %s lacks an end", tomldoc.Quote(ports))
	}
	from, to, isRange := splitRange(ports, proto)
	if !isRange {
		return protocol.PortRange{}, whole
	}
	first, err := parsePort(s, from, proto)
	if err != nil {
		return protocol.PortRange{}, err
	}
	last, err := parsePort(s, to, proto)
	if err != nil {
		return protocol.PortRange{}, err
	}
	if first > last {
		return protocol.PortRange{}, wrong(s, ports, fmt.Sprintf("did you mean \"%s-%s/%s\"?", to, from, proto), "the range is upside down: %d is above %d", first, last)
	}
	return protocol.PortRange{Proto: proto, First: first, Last: last}, nil
}

// splitPort splits "8000/tcp" and explains what else may have been meant.
func splitPort(s string) (port string, proto protocol.Proto, err error) {
	if s == "" {
		return "", 0, wrong(s, "", `write a port, as "8000/tcp"`, "the text is empty")
	}
	if squeezed := strings.Join(strings.Fields(s), ""); squeezed != s {
		return "", 0, wrong(s, "", didYouMean(squeezed), "%s has a space in it", tomldoc.Quote(s))
	}
	port, name, found := strings.Cut(s, "/")
	if !found {
		return "", 0, noProtocol(s)
	}
	if port == "icmp" {
		return "", 0, wrong(s, "", `write "icmp" alone; it stands for every ping, of IPv4 and IPv6`, "icmp has no ports")
	}
	proto, known := protocol.ParseProto(name)
	switch {
	case known && proto != protocol.ICMP:
		return port, proto, nil
	case known:
		return "", 0, wrong(s, name, `a ping is "icmp" alone; ports have "tcp" or "udp"`, "icmp has no ports")
	case name == "":
		return "", 0, noProtocol(port)
	}
	if p, reversed := protocol.ParseProto(port); reversed {
		return "", 0, wrong(s, "", didYouMean(name+"/"+p.String()), "the port comes before the protocol")
	}
	if isProtocol(name) {
		return "", 0, notPort(s, name)
	}
	hint := tomldoc.Meant(strings.ToLower(name), []string{"tcp", "udp"})
	if hint == "" {
		hint = "the protocols are tcp and udp"
	}
	return "", 0, wrong(s, name, hint, "no protocol is called %s", tomldoc.Quote(name))
}

func noProtocol(s string) error {
	if port, name, found := strings.Cut(s, ":"); found {
		if p, known := protocol.ParseProto(name); known {
			return wrong(s, "", didYouMean(port+"/"+p.String()), "a port and its protocol are written with a slash")
		}
	}
	switch strings.ToLower(s) {
	case "icmp", "ping", "icmpv6", "icmp6", "ipv6-icmp":
		return wrong(s, "", `write "icmp"; it stands for a ping of IPv4 and of IPv6`, "no knock is called %s", tomldoc.Quote(s))
	}
	if hint := tomldoc.Meant(s, []string{"icmp"}); hint != "" {
		return wrong(s, "", hint, "no knock is called %s", tomldoc.Quote(s))
	}
	if isProtocol(s) {
		return notPort(s, s)
	}
	return wrong(s, "", protocolHint(s), "%s does not say which protocol", tomldoc.Quote(s))
}

// protocolHint says what to write for a port, a range, or the name of a service.
func protocolHint(s string) string {
	const mostLetters = 40
	if len(s) > mostLetters {
		return ""
	}
	both := fmt.Sprintf("write %q or %q", s+"/tcp", s+"/udp")
	if strings.Trim(s, "0123456789-:") == "" {
		return both
	}
	_, tcp := findCommon(s, protocol.TCP) // the same on every system, for the names of our list
	_, udp := findCommon(s, protocol.UDP)
	if !tcp && !udp {
		_, tcp = findInFile(s, protocol.TCP)
		_, udp = findInFile(s, protocol.UDP)
	}
	_, _, isRange := splitRange(s, protocol.TCP)
	switch {
	case tcp && udp, isRange:
		return both
	case tcp:
		return fmt.Sprintf("write %q", s+"/tcp")
	case udp:
		return fmt.Sprintf("write %q", s+"/udp")
	}
	return serviceHint(s, protocol.TCP)
}

// isProtocol reports whether a word names a protocol of IP that has no ports here.
func isProtocol(word string) bool {
	return slices.Contains([]string{"gre", "esp", "ah", "ipsec-esp", "ipip", "ipencap", "ipcomp", "igmp", "ospf", "ospfigp", "eigrp", "vrrp", "carp", "pim", "sctp", "dccp", "udplite"}, strings.ToLower(word))
}

func notPort(s, name string) error {
	return wrong(s, name, `write a port, as "8000/tcp"`, "%s is a protocol of its own: only ports of tcp and udp can be opened or knocked on", tomldoc.Quote(name))
}

// parsePort reads a number or the name of a service; s is the whole text.
func parsePort(s, port string, proto protocol.Proto) (uint16, error) {
	if strings.Trim(port, "0123456789") == "" {
		n, err := strconv.ParseUint(port, 10, 16)
		switch {
		case port == "":
			return 0, wrong(s, "", `write a port, as "8000/`+proto.String()+`"`, "a port is missing before the slash")
		case err != nil || n == 0:
			return 0, wrong(s, port, "ports are 1 to 65535", "there is no port %s", short(port))
		}
		return uint16(n), nil
	}
	if n, ok := lookupService(port, proto); ok {
		return n, nil
	}
	if isProtocol(port) {
		return 0, notPort(s, port)
	}
	return 0, wrong(s, port, serviceHint(port, proto), "no service is called %s for %s", tomldoc.Quote(port), proto)
}

func serviceHint(name string, proto protocol.Proto) string {
	other := protocol.TCP + protocol.UDP - proto
	if _, ok := lookupService(name, other); ok {
		return didYouMean(name + "/" + other.String())
	}
	if ports := ServicePorts(name); len(ports) > 0 { // a name of which a profile has the number
		return didYouMean(ports[0].String())
	}
	if near := tomldoc.Closest(name, serviceNames(commonServices, proto)); near != "" {
		return didYouMean(near + "/" + proto.String())
	}
	return `write the port's number, as "8000/` + proto.String() + `"`
}

// splitRange splits "6000-6010" where both ends are ports. A name may have
// hyphens itself, so every one is tried, and numbers need no look-up.
func splitRange(s string, proto protocol.Proto) (from, to string, ok bool) {
	const maxServiceName = 64 // no text makes us look up thousands of names
	digits := func(t string) bool { return t != "" && strings.Trim(t, "0123456789") == "" }
	isPort := func(t string) bool {
		_, known := lookupService(t, proto)
		return digits(t) || known
	}
	for i := range min(len(s), maxServiceName) {
		if s[i] == '-' && isPort(s[:i]) && isPort(s[i+1:]) {
			return s[:i], s[i+1:], true
		}
	}
	return "", "", false
}

func didYouMean(s string) string {
	if len(s) > 60 {
		return ""
	}
	return fmt.Sprintf("did you mean %q?", s)
}

func short(number string) string {
	if len(number) > 20 {
		return number[:20] + "…"
	}
	return number
}
