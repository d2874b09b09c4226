package classic

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"knockkit/internal/tomldoc"
	"knockkit/protocol"
)

// The daemon's defaults.
const (
	defaultSequenceTime = 25
	defaultCommandTime  = 10
)

// draft is a section on its way to a profile.
type draft struct {
	title    string
	head     position
	opens    rule // what it lets in, or takes away
	knocks   []protocol.Knock
	within   time.Duration
	lease    time.Duration
	troubles []trouble

	name    string // of the profile
	text    string // of its file
	profile *protocol.Profile
}

// readDraft reads a section. device is the daemon's setting of the interface.
func readDraft(s *section, device position) *draft {
	d := &draft{title: s.title, head: s.head, troubles: append(s.wrong, s.notes...)}
	if s.unnamed {
		d.name = profileName(s.title)
	}
	for _, before := range s.twice {
		d.warn(before, "", "the setting comes again below, and only the last one counts")
	}
	if at, set := s.set["ONE_TIME_SEQUENCES"]; set {
		d.skip(at, "let the classic daemon keep this section, or give it a `sequence` and import again", "a profile has one sequence, and no file of them")
	}
	d.sequence(s)
	d.flags(s)
	d.times(s)
	d.commands(s)
	d.scope(s, device)
	return d
}

// skip reports why no profile is made of the section; warn, what is different in the profile.
func (d *draft) skip(at position, hint, format string, args ...any) {
	d.troubles = append(d.troubles, trouble{at: at, message: fmt.Sprintf(format, args...), hint: hint})
}

func (d *draft) warn(at position, hint, format string, args ...any) {
	d.troubles = append(d.troubles, trouble{at: at, message: fmt.Sprintf(format, args...), hint: hint, mild: true})
}

// left reports whether no profile is made.
func (d *draft) left() bool {
	return slices.ContainsFunc(d.troubles, func(t trouble) bool { return !t.mild })
}

func (d *draft) sequence(s *section) {
	if at, set := s.set["SEQUENCE"]; set {
		d.knock(at, ",")
	} else if !d.left() {
		d.skip(d.head, "write sequence = 7000,8000,9000 with ports of your own, and import again", "the section has no sequence")
	}
}

// knock reads the knocks, which are separated by a comma or, in csf, a semicolon.
func (d *draft) knock(at position, separator string) {
	from := 0
	for item := range strings.SplitSeq(at.value(), separator) {
		here := trim(at.part(from, from+len(item)))
		from += len(item) + 1
		k, err := parseKnock(item)
		if err != nil {
			d.skip(here, "", "%s", err)
			return
		}
		if n := len(d.knocks); n > 0 && d.knocks[n-1] == k {
			d.skip(here, "choose another port for one of the two, here and at the clients, and import again",
				"%s comes twice in a row: a packet that the network repeats cannot be told from a second knock", k)
			return
		}
		d.knocks = append(d.knocks, k)
	}
	if n := len(d.knocks); n > protocol.MaxSequence {
		d.skip(at, "", "the sequence has %d knocks; a profile takes at most %d", n, protocol.MaxSequence)
	}
}

// parseKnock reads "7000", "7000:udp".
func parseKnock(item string) (protocol.Knock, error) {
	number, proto, _ := strings.Cut(item, ":")
	k := protocol.Knock{Proto: protocol.TCP}
	switch strings.ToLower(strings.Trim(proto, white)) {
	case "", "tcp":
	case "udp":
		k.Proto = protocol.UDP
	default:
		return k, fmt.Errorf("there is no protocol %s for a knock", tomldoc.Quote(proto))
	}
	port, err := strconv.ParseUint(strings.Trim(number, white), 10, 16)
	if err != nil || port == 0 {
		return k, fmt.Errorf("%s is not a port", tomldoc.Quote(strings.Trim(number, white)))
	}
	k.Port = uint16(port)
	return k, nil
}

// flags checks that the daemon waits for the plain SYN of a client.
func (d *draft) flags(s *section) {
	if !slices.ContainsFunc(d.knocks, func(k protocol.Knock) bool { return k.Proto == protocol.TCP }) {
		return
	}
	at, set := s.set["TCPFLAGS"]
	syn := false
	for item := range strings.SplitSeq(at.value(), ",") {
		flag := strings.ToLower(strings.Trim(item, white))
		name, not := strings.CutPrefix(flag, "!")
		switch {
		case !set:
		case !slices.Contains([]string{"fin", "syn", "rst", "psh", "ack", "urg"}, name):
			d.skip(at, "", "there is no TCP flag %s", tomldoc.Quote(name))
			return
		case not == (name == "syn"):
			d.skip(at, `if clients send plain SYNs, as "knock" does, write tcpflags = syn and import again`,
				"a knock of a profile is a SYN without other flags, and these flags ask for something else")
			return
		case flag == "syn":
			syn = true
		}
	}
	if !syn {
		if !set {
			at = s.set["SEQUENCE"]
		}
		d.warn(at, "clients that send SYNs, as \"knock\" does, need no change", "packets with other flags count as knocks for the classic daemon; here only SYNs do")
	}
}

// times reads how long a sequence may take.
func (d *draft) times(s *section) {
	seconds, at, known := defaultSequenceTime, s.set["SEQUENCE"], ""
	if set, ok := s.set["SEQ_TIMEOUT"]; ok {
		at = set
		if seconds, ok = d.seconds(set); !ok {
			return
		}
		if seconds == 0 {
			d.skip(set, "", "with this time no sequence is fast enough: the section has never opened anything")
			return
		}
	} else {
		known = ", its default"
	}
	if d.within = time.Duration(seconds) * time.Second; d.within > protocol.MaxWithin {
		d.skip(at, "", "a profile waits for a knock for %s at most", protocol.FormatDuration(protocol.MaxWithin))
		return
	}
	if n := len(d.knocks); n > 2 {
		d.warn(at, fmt.Sprintf("so whoever is fast enough today stays so, and the whole may take %s; for less, shorten `within`", protocol.FormatDuration(time.Duration(n-1)*d.within)),
			"the classic daemon gives all %d knocks %ds together%s; `within` gives each as long since the one before", n, seconds, known)
	}
}

// seconds reads a whole number. The daemon ignores the text behind it; here it is refused, as it may
// mean something else.
func (d *draft) seconds(at position) (int, bool) {
	n, err := strconv.ParseUint(at.value(), 10, 31)
	if err != nil {
		d.skip(at, "write a number alone; a comment needs a line of its own", "%s is not a number of seconds", tomldoc.Quote(at.value()))
		return 0, false
	}
	return int(n), true
}

// anywhere is what libpcap, and with it the daemon's Interface and -i, calls all interfaces.
const anywhere = "any"

// scope reads where knocks and connections come in.
func (d *draft) scope(s *section, device position) {
	d.device(device)
	at, set := s.set["TARGET"]
	if !set {
		return
	}
	to, err := hostAddress(at.value())
	if err != nil || to != d.opens.to {
		d.skip(at, "if the address is one of this host, write it into the rule too (iptables: -d) and import again",
			"knocks are for that address, and connections are not: a profile has one `to` for both, and is about this host")
	}
}

// device compares where knocks come in, by the daemon's setting, with where connections do,
// by the rule. Without the setting, or with an empty one, the daemon listens on eth0.
func (d *draft) device(setting position) {
	listens, opens := setting.value(), d.opens.device
	switch {
	case opens == anywhere:
		d.skip(d.head, "leave it out of the rule, and import again", "in a rule, any is the name of one interface: the rule has never let anybody in")
	case strings.ContainsAny(listens, ", \t"):
		d.skip(setting, "for all interfaces of the host write Interface = any, for one its name, and import again", "the daemon listens on one interface, and a profile is about one or all of them")
	case listens == anywhere && opens != "":
		d.warn(setting, "", "the daemon takes knocks on all interfaces; the profile takes them on %s alone, as connections", tomldoc.Quote(opens))
	case listens == anywhere || listens == "" && (opens == "" || opens == "eth0"):
	case listens == "":
		d.skip(d.head, fmt.Sprintf("if the classic daemon is started with -i %s, write Interface = %s into [options] and import again", opens, opens),
			"the rule is about %s, and the file does not say that the classic daemon listens there (it listens on eth0 unless it is told otherwise)", tomldoc.Quote(opens))
	case opens == "":
		d.opens.device = listens
		d.warn(setting, "remove `interface` from the profile if they are to knock too", "the profile is about %s alone: connections that come in elsewhere are left to the host's other rules", tomldoc.Quote(listens))
	case opens != listens:
		d.skip(d.head, "", "knocks come in on %s and connections on %s; a profile has one interface for both", tomldoc.Quote(listens), tomldoc.Quote(opens))
	}
}

// hostAddress returns a single address as a prefix.
func hostAddress(text string) (string, error) {
	p, err := protocol.ParsePrefix(text)
	if err != nil || !p.IsSingleIP() {
		return "", fmt.Errorf("%s is not an address", tomldoc.Quote(text))
	}
	return p.String(), nil
}
