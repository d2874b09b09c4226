package format

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"knockkit/protocol"
)

// A link is what a client needs of a profile, in one word that every shell passes on unchanged:
//
//	knock://mysql/host=db1.example.com,knock=icmp+7-tcp+8000-tcp-5s,open=3306-tcp,sum=c090a230
//
// docs/profile.md describes the form; [linkKeys] are its keys.
const (
	LinkBegin = "knock://" // of every link

	linkEnd  = ",sum=" // and the sum, see linkSum
	sumLen   = 8       // digits
	linkJoin = "+"     // between several values of a key

	linkLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:/.,=+-_"
)

// MaxLink is how many bytes a link may have. It fits into a QR code (2,953 bytes) and into a line
// that is typed on a terminal (4,095).
const MaxLink = 2048

// linkSum returns the first 8 hexadecimal digits of the SHA-256 of all that stands before it: a link
// that was cut or changed on the way is noticed. It is no protection against a forger.
func linkSum(before string) string {
	sum := sha256.Sum256([]byte(before))
	return hex.EncodeToString(sum[:4])
}

// Link returns the profile as a link for clients, which [ParseLink] reads back. It leaves out
// defaults, and what only the server or people need. The profile must have a host, and a signed one a
// key of its own, which is in the link; for others it is nil. The error is a [*SyntaxError] for a host
// that no link can have.
func Link(p *protocol.Profile, key *KeyFile) (string, error) {
	switch {
	case p.Signed != nil && (key == nil || key.Profile != p.Name):
		return "", fmt.Errorf("profile %s is signed: a link is for a user, and has a key", p.Name)
	case len(p.Hosts) == 0:
		return "", fmt.Errorf("profile %s has no host", p.Name)
	}
	for _, host := range p.Hosts {
		if err := checkLinkHost(host); err != nil {
			return "", err
		}
	}
	var items []string
	add := func(key string, values ...string) {
		items = append(items, key+"="+strings.Join(values, linkJoin))
	}
	add("host", p.Hosts...)
	if p.AnyHost {
		add("any", "true")
	}
	if p.Signed != nil {
		add("carrier", linkPort(p.Signed.Carrier.String()))
	} else {
		within := usualWithin(p.Sequence)
		add("knock", linkSteps(p.Sequence, within)...)
		if within != protocol.DefaultWithin {
			add("within", protocol.FormatDuration(within))
		}
	}
	add("open", linkPorts(texts(p.Open))...)
	if p.Lease != protocol.DefaultLease {
		add("lease", protocol.FormatDuration(p.Lease))
	}
	if p.Renew {
		add("renew", "true")
	}
	if p.Once {
		add("once", "true")
	}
	if p.Close != nil {
		add("close", linkPorts([]string{p.Close.String()})...)
	}
	if f := onlyFamily(p); f != protocol.Both {
		add("family", f.String())
	}
	if p.Closed != protocol.ClosedDrop { // a client explains with it why a connection was refused
		add("closed", p.Closed.String())
	}
	if p.Client.Gap != protocol.DefaultGap {
		add("gap", protocol.FormatDuration(p.Client.Gap))
	}
	if p.Client.Attempts != protocol.DefaultAttempts {
		add("attempts", strconv.Itoa(p.Client.Attempts))
	}
	if !p.Client.Verify {
		add("verify", "false")
	}
	if p.Signed != nil {
		add("user", key.User)
		add("audience", key.Audience)
		if !key.Expires.IsZero() {
			add("expires", key.Expires.UTC().Format(time.RFC3339))
		}
		add("key", KeyText(key.Secret))
	}
	link := LinkBegin + p.Name + "/" + strings.Join(items, ",")
	link += linkEnd + linkSum(link)
	if len(link) > MaxLink {
		return "", &SyntaxError{Message: fmt.Sprintf("the link would have %d bytes; at most %d are possible", len(link), MaxLink), Hint: "name fewer hosts"}
	}
	return link, nil
}

// checkLinkHost refuses what is no host, and an address with a zone, which means something on one
// machine only.
func checkLinkHost(host string) error {
	if addr, err := netip.ParseAddr(host); err == nil && addr.Zone() != "" {
		return wrong(host, "%"+addr.Zone(), "name an address or a name that is the same for every client",
			"%s has a zone: it is the name of an interface of one machine, and a link is for others", host)
	}
	return CheckHost(host)
}

// usualWithin returns the time that most of the knocks after the first have, the default among equals.
func usualWithin(steps []protocol.Step) time.Duration {
	count := map[time.Duration]int{}
	for _, s := range steps[1:] {
		count[s.Within]++
	}
	usual := protocol.DefaultWithin
	for _, s := range steps[1:] {
		if count[s.Within] > count[usual] {
			usual = s.Within
		}
	}
	return usual
}

// linkSteps writes knocks as "icmp", "8000-tcp" or, with a time of its own, "8000-tcp-5s".
func linkSteps(steps []protocol.Step, within time.Duration) []string {
	all := make([]string, len(steps))
	for i, s := range steps {
		all[i] = linkPort(s.Knock.String())
		if i > 0 && s.Within != within {
			all[i] += "-" + protocol.FormatDuration(s.Within)
		}
	}
	return all
}

// onlyFamily returns the family in which alone the profile can be opened, if there is one: `from` and
// `to`, which say it too, are not in a link.
func onlyFamily(p *protocol.Profile) protocol.Family {
	switch v4, v6 := p.OpensIn(protocol.IPv4), p.OpensIn(protocol.IPv6); {
	case v4 && !v6:
		return protocol.IPv4
	case v6 && !v4:
		return protocol.IPv6
	}
	return protocol.Both
}

// linkPort writes "8000/tcp" as "8000-tcp", and "6000-6010/tcp" as "6000-6010-tcp".
func linkPort(text string) string { return strings.Replace(text, "/", "-", 1) }

func linkPorts(all []string) []string {
	for i, text := range all {
		all[i] = linkPort(text)
	}
	return all
}
