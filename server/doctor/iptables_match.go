package doctor

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"knockkit/protocol"
)

// iptablesKeys are the matches that nft has too, by its names.
var iptablesKeys = map[string]string{
	"-p": "meta l4proto", "-i": "meta iifname", "-o": "meta oifname",
	"-s": "ip saddr", "--src-range": "ip saddr", "-d": "ip daddr", "--dst-range": "ip daddr",
	"--sport": "th sport", "--source-port": "th sport", "--sports": "th sport", "--source-ports": "th sport",
	"--dport": "th dport", "--destination-port": "th dport", "--dports": "th dport", "--destination-ports": "th dport",
	"--dst-type": "fib daddr type", "--src-type": "fib saddr type", "--icmp-type": "icmp type", "--icmpv6-type": "icmp type",
	"--ctstate": "ct state", "--state": "ct state", "--ctdir": "ct direction",
}

// iptablesCondition returns a match as a condition. ok is false for a match that is always true.
func iptablesCondition(flag string, values []string) (c condition, ok bool) {
	value := strings.Join(values, " ")
	c = always(perhaps, matching(strings.TrimSpace(flag+" "+value)))
	key, known := iptablesKeys[flag]
	switch {
	case known:
		c.is = nftEqual(key, strings.Split(value, ","))
		if begin := nftWords[key]; begin != "" {
			c.words = begin + value
		}
	case flag == "-m":
		return c, slices.Contains(bare, value)
	case flag == "--tcp-flags" && len(values) == 2:
		c.is = func(p packet) answer {
			return flagsAre(p, strings.Split(values[0], ","), strings.Split(values[1], ","))
		}
	case flag == "-f":
		c.is = func(packet) answer { return no }
	}
	return c, true
}

// bare are the matches that have a condition without any option.
var bare = []string{"socket", "rpfilter", "eui64", "ah", "esp", "frag", "hbh", "dst", "rt", "mh", "srh"}

// protoIs compares with a protocol's name or number.
func protoIs(name string) func(packet) answer {
	names := map[protocol.Proto][]string{protocol.TCP: {"tcp", "6"}, protocol.UDP: {"udp", "17"}, protocol.ICMP: {"icmp", "1"}}
	return func(p packet) answer {
		of := names[p.Knock.Proto]
		if p.Knock.Proto == protocol.ICMP && p.Family == protocol.IPv6 {
			of = []string{"icmpv6", "ipv6-icmp", "58"}
		}
		return sure(name == "all" || slices.Contains(of, name))
	}
}

// interfaceIs compares the interface on which a packet comes in, or goes out, with a name; "+" (nft:
// "*") at its end stands for anything. Packets from this host come in on none, and packets to it go
// out on none. The interface to a container is not known.
func interfaceIs(name string, out bool) func(packet) answer {
	prefix, pattern := strings.CutSuffix(strings.ReplaceAll(name, "*", "+"), "+")
	matches := func(other string) bool { return other == prefix || pattern && strings.HasPrefix(other, prefix) }
	inner := name == "lo" || container.MatchString(name)
	return func(p packet) answer {
		switch {
		case pattern && prefix == "":
			return yes
		case out == (p.stage == reply):
			return p.comesBy(matches, inner)
		}
		return min(sure(p.routed && name != "lo"), perhaps)
	}
}

// addressIs compares a packet's source or destination.
func addressIs(values []string, source bool) func(packet) answer {
	ranges, ok := parseAddresses(values)
	return func(p packet) answer {
		switch {
		case !ok:
			return perhaps
		case source == (p.stage != reply):
			return p.isStranger(ranges)
		}
		return p.isHost(ranges)
	}
}

// some joins the first few of what may be thousands.
func some(values []string) string {
	const few = 4
	if len(values) > few {
		return strings.Join(values[:few], ", ") + ", …"
	}
	return strings.Join(values, ", ")
}

// portIs compares the source or destination port of TCP and UDP.
func portIs(values []string, source bool) func(packet) answer {
	ports, ok := parsePorts(values)
	return func(p packet) answer {
		switch {
		case p.Knock.Proto == protocol.ICMP:
			return no
		case !ok:
			return perhaps
		case source == (p.stage != reply):
			return p.isStrangerPort(ports)
		}
		return sure(slices.ContainsFunc(ports, func(r protocol.PortRange) bool { return r.First <= p.Knock.Port && p.Knock.Port <= r.Last }))
	}
}

// parsePorts reads "22", "6000-6010", and "6000:6010".
func parsePorts(values []string) (ports []protocol.PortRange, ok bool) {
	for _, text := range values {
		first, last, isRange := strings.Cut(strings.Replace(text, ":", "-", 1), "-")
		if isRange {
			first, last = cmp.Or(first, "0"), cmp.Or(last, "65535")
		} else {
			last = first
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

// typeIs compares the kind of address (addrtype, fib) of one end: the host's own is local, unless
// the packet is forwarded.
func typeIs(p packet, host bool, kinds []string) answer {
	local := named(kinds, "local")
	if host && !p.routed {
		return sure(local)
	}
	return min(sure(!local || len(kinds) > 1), perhaps)
}

// stateIs compares with conntrack's states.
func stateIs(p packet, states []string) answer {
	if named(states, "dnat") && p.routed {
		return yes
	}
	if named(states, "snat") {
		return perhaps
	}
	if p.stage == first {
		return sure(named(states, "new"))
	}
	return sure(named(states, "established"))
}

// flagsAre compares those flags of TCP that are in the mask.
func flagsAre(p packet, mask, set []string) answer {
	for _, flag := range []string{"fin", "syn", "rst", "psh", "ack", "urg"} {
		asked := named(mask, flag) || named(mask, "all")
		if asked && named(p.flags(), flag) != named(set, flag) {
			return no
		}
	}
	return sure(p.Knock.Proto == protocol.TCP)
}

// named reports whether a list has a word, in upper or lower case.
func named(words []string, word string) bool {
	return slices.ContainsFunc(words, func(w string) bool { return strings.EqualFold(w, word) })
}
