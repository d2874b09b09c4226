package format

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"knockkit/protocol"
)

// minBits is how many bits a sequence should be worth: 2^32 tries.
const minBits = 32

// warn warns of what is allowed and better avoided. The profile has no errors.
func (a *parser) warn() {
	if len(a.p.Sequence) > 0 {
		a.warnGuessable()
		a.warnScanned()
	}
	a.warnTimes()
	a.warnOneFamily()
	switch {
	case a.p.Reply == protocol.ReplyContinue:
	case a.p.Signed != nil:
		a.doc.Warn(a.raw.Reply.At,
			fmt.Sprintf("a right token gets %q and a wrong one what the host's other rules say: who watches the network sees which packets open the profile", a.p.Reply),
			`leave it at "continue", unless the host does the same with every such packet`)
	default:
		a.doc.Warn(a.raw.Reply.At,
			fmt.Sprintf("a right knock gets %q and a wrong one what the host's other rules say: the difference gives the sequence away, port by port", a.p.Reply),
			`leave it at "continue", unless the host does the same with every closed port`)
	}
}

// warnOneFamily warns of a family that `to` has no prefix of, and so leaves without a gate.
func (a *parser) warnOneFamily() {
	for _, f := range protocol.Families() {
		if a.p.Family == protocol.Both && !a.p.In(f) {
			other := protocol.IPv4
			if f == protocol.IPv4 {
				other = protocol.IPv6
			}
			a.doc.Warn(a.raw.To.At, fmt.Sprintf("no prefix here is of %s: over %s nothing is gated, and what the profile opens is open", f, f),
				fmt.Sprintf("add the host's addresses of that family, or say family = \"%s\" if that is meant", other))
		}
	}
}

// warnGuessable looks at how hard the sequence is to guess.
func (a *parser) warnGuessable() {
	if len(a.p.Sequence) == 1 {
		what := "any port scan"
		if a.p.Sequence[0].Knock.Proto == protocol.ICMP {
			what = "any ping"
		}
		a.doc.Warn(a.raw.Sequence.At, fmt.Sprintf("one knock is no secret: %s opens the profile", what), "use three ports or more")
		return
	}
	if ascends(a.p.Sequence) {
		a.doc.Warn(a.raw.Sequence.At, "a scan of the ports in ascending order makes these knocks in this order",
			"put a higher port before a lower one; until then only `strict` tells a scan from a client")
	}
	if bits := sequenceBits(a.p.Sequence); bits < minBits {
		missing := int(math.Ceil((minBits - bits) / knockBits(protocol.Knock{Proto: protocol.TCP, Port: 40000})))
		more := "another port"
		if missing > 1 {
			more = fmt.Sprintf("%d more ports", missing)
		}
		a.doc.Warn(a.raw.Sequence.At, fmt.Sprintf("the sequence is worth about %.0f bits: fewer than %d can be found by trying", bits, minBits),
			fmt.Sprintf("add %s that scanners do not try first: a ping is worth 1 bit, a port that they do 8, any other 17", more))
	}
}

// ascends reports whether a port scan in ascending order makes the knocks: all
// of one protocol, perhaps after a ping, with which scanners begin.
func ascends(steps []protocol.Step) bool {
	if steps[0].Knock.Proto == protocol.ICMP {
		steps = steps[1:]
	}
	for i, s := range steps {
		if s.Knock.Proto == protocol.ICMP || i > 0 && (s.Knock.Proto != steps[i-1].Knock.Proto || s.Knock.Port < steps[i-1].Knock.Port) {
			return false
		}
	}
	return true
}

// sequenceBits is how hard a sequence is to guess: the sum over its knocks.
func sequenceBits(steps []protocol.Step) float64 {
	bits := 0.0
	for _, s := range steps {
		bits += knockBits(s.Knock)
	}
	return bits
}

// knockBits is the logarithm of how many knocks somebody must try who begins with the likely ones:
// whether there is a ping at all (2, so 1 bit); the ports that scanners try first (100 of two
// protocols, 8 bits); then every port of the two protocols (131,070, 17 bits).
func knockBits(k protocol.Knock) float64 {
	switch {
	case k.Proto == protocol.ICMP:
		return 1
	case scannedFirst(k):
		return math.Ceil(math.Log2(2 * float64(len(scannedPorts()))))
	}
	return math.Log2(2 * math.MaxUint16)
}

// warnScanned names knocks that scanners make sooner than others.
func (a *parser) warnScanned() {
	var ports []string
	first := -1
	for i, s := range a.p.Sequence {
		if scannedFirst(s.Knock) {
			if first < 0 {
				first = i
			}
			ports = append(ports, s.Knock.String())
		}
	}
	ports = slices.Compact(ports)
	switch len(ports) {
	case 0:
		return
	case 1:
		a.doc.Warn(a.step[first], fmt.Sprintf("%s is among the hundred ports that scanners try first", ports[0]), "choose another")
	default:
		a.doc.Warn(a.step[first], fmt.Sprintf("%s are among the hundred ports that scanners try first", strings.Join(ports, ", ")), "choose others")
	}
}

// warnTimes looks at times that do not fit each other.
func (a *parser) warnTimes() {
	p := a.p
	if p.Signed != nil && a.raw.Within != nil {
		a.doc.Warn(a.raw.Within.Key, "`within` has no effect: a signed knock is a single packet", "remove it")
	}
	if p.Renew && p.Lease == 0 {
		a.doc.Warn(a.raw.Renew.Key, "`renew` has no effect: the lease has no end", `give the lease an end, as lease = "1h"`)
	}
	for i, s := range p.Sequence {
		if i > 0 && s.Within == 0 {
			a.doc.Warn(a.wait[i], fmt.Sprintf("knock %d may come at any time after the one before: knocks that are not meant add up over days", i+1), `limit it, as "10s"`)
			break
		}
	}
	for i, s := range p.Sequence {
		if i > 0 && s.Within > 0 && p.Client.Gap >= s.Within {
			a.doc.Warn(a.raw.Client.Gap.At, fmt.Sprintf("the client waits %s before knock %d, which must come within %s", protocol.FormatDuration(p.Client.Gap), i+1, protocol.FormatDuration(s.Within)), "make the gap shorter, or `within` longer")
			break
		}
	}
}

// scannedPorts returns the 100 TCP ports that nmap finds open most often, which "nmap --top-ports
// 100" tries. Its authors measured them, and other scanners begin with much the same. UDP is scanned
// rarely, and is left out.
func scannedPorts() []uint16 {
	return []uint16{
		7, 9, 13, 21, 22, 23, 25, 26, 37, 53, 79, 80, 81, 88, 106, 110, 111, 113, 119, 135, 139, 143, 144, 179, 199,
		389, 427, 443, 444, 445, 465, 513, 514, 515, 543, 544, 548, 554, 587, 631, 646, 873, 990, 993, 995,
		1025, 1026, 1027, 1028, 1029, 1110, 1433, 1720, 1723, 1755, 1900, 2000, 2001, 2049, 2121, 2717,
		3000, 3128, 3306, 3389, 3986, 4899, 5000, 5009, 5051, 5060, 5101, 5190, 5357, 5432, 5631, 5666, 5800, 5900,
		6000, 6001, 6646, 7070, 8000, 8008, 8009, 8080, 8081, 8443, 8888, 9100, 9999, 10000,
		32768, 49152, 49153, 49154, 49155, 49156, 49157,
	}
}

func scannedFirst(k protocol.Knock) bool {
	return k.Proto == protocol.TCP && slices.Contains(scannedPorts(), k.Port)
}
