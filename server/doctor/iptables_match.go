package doctor

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"knockkit/protocol"
)

// iptablesCondition returns what a match asks, or nil where it asks nothing of a
// stranger's first packet.
func iptablesCondition(flag string, values []string) condition {
	value := strings.Join(values, " ")
	switch flag {
	case "-m", "--comment", "--dst-type", "--icmp-type", "--icmpv6-type":
		if flag == "--dst-type" {
			return always(sure(slices.Contains(strings.Split(value, ","), "LOCAL")))
		}
		if flag == "--icmp-type" || flag == "--icmpv6-type" {
			return func(p Packet) answer { return sure(p.Knock.Proto == protocol.ICMP && isEcho(p.Family, value)) }
		}
		return nil
	case "-p":
		return protoIs(value)
	case "-i":
		return interfaceIs(value)
	case "--dport", "--destination-port", "--dports", "--destination-ports":
		return portIn(parsePorts(value, ":"))
	case "--ctstate", "--state":
		return always(sure(slices.Contains(strings.Split(value, ","), "NEW")))
	case "--tcp-flags":
		if len(values) == 2 {
			mask, set := strings.Split(values[0], ","), strings.Split(values[1], ",")
			return always(sure(slices.Contains(set, "SYN") == slices.Contains(mask, "SYN") && (len(set) == 1 && (set[0] == "SYN" || set[0] == "NONE"))))
		}
	}
	return always(perhaps)
}

func always(a answer) condition { return func(Packet) answer { return a } }

// isEcho reports whether an ICMP type, as a number or a name, is the echo request.
func isEcho(f protocol.Family, kind string) bool {
	kind, _, _ = strings.Cut(kind, "/")
	if f == protocol.IPv4 {
		return kind == "8" || kind == "echo-request" || kind == "any"
	}
	return kind == "128" || kind == "echo-request"
}

// protoIs compares with a protocol's name or number.
func protoIs(name string) condition {
	return func(p Packet) answer {
		names := []string{p.Knock.Proto.String(), map[protocol.Proto]string{protocol.ICMP: "1", protocol.TCP: "6", protocol.UDP: "17"}[p.Knock.Proto]}
		if p.Knock.Proto == protocol.ICMP && p.Family == protocol.IPv6 {
			names = []string{"icmpv6", "ipv6-icmp", "58"}
		}
		return sure(name == "all" || slices.Contains(names, name))
	}
}

// interfaceIs: a stranger does not come in by loopback, nor from a container, and
// perhaps by any other.
func interfaceIs(name string) condition {
	if name == "lo" || container.MatchString(name) {
		return always(no)
	}
	return always(perhaps)
}

// container matches the bridges behind which containers are, by the names that
// Docker, Podman, CNI and libvirt give them.
var container = regexp.MustCompile(`^(docker|podman|cni|virbr|lxcbr|veth)|^br-[0-9a-f]{12}$`)

// portIn is true of TCP and UDP to one of the ports.
func portIn(ports []protocol.PortRange, ok bool) condition {
	if !ok {
		return always(perhaps)
	}
	return func(p Packet) answer {
		return sure(p.Knock.Proto != protocol.ICMP && slices.ContainsFunc(ports, func(r protocol.PortRange) bool {
			return r.First <= p.Knock.Port && p.Knock.Port <= r.Last
		}))
	}
}

// parsePorts reads "22", "22,80", and "6000:6010" with the given sign between.
func parsePorts(text, between string) (ports []protocol.PortRange, ok bool) {
	for part := range strings.SplitSeq(text, ",") {
		first, last, isRange := strings.Cut(part, between)
		if !isRange {
			last = first
		}
		if isRange && first == "" {
			first = "0"
		}
		if isRange && last == "" {
			last = "65535"
		}
		a, errA := strconv.ParseUint(first, 10, 16)
		b, errB := strconv.ParseUint(last, 10, 16)
		if errA != nil || errB != nil {
			return nil, false
		}
		ports = append(ports, protocol.PortRange{First: uint16(a), Last: uint16(b)})
	}
	return ports, true
}
