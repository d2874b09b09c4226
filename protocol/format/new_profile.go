package format

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"knockkit/protocol"
)

// newSequence is how many ports a new profile knocks on: 4 are worth 68 bits.
const newSequence = 4

// NewProfile is what a person says about a new profile. What is unset has its default. The texts are
// not checked: [ParseProfile] reads the profile's text as any other.
type NewProfile struct {
	Name          string               // see [CheckName]
	Open          []protocol.PortRange // one or more
	Lease, Within string               // as a profile writes them
	Hosts         []string
	Description   string
	Carrier       string // of the token of a signed profile, which has no sequence, as a profile writes it; "": none

	Avoid func(protocol.Knock) bool // what the sequence must not knock on, beside Open; nil: nothing
}

// errNoPorts says that no sequence can be made.
var errNoPorts = errors.New("too few ports are left for a sequence: a knock is on a port that no profile opens")

// NewProfileText returns the text of a new profile. intn returns a random number from 0 to n-1: the
// sequence is made of it, so it must not be predictable. The text parses without a warning, unless
// one of the values is the reason. It fails where too few ports are left to knock on.
func NewProfileText(n NewProfile, intn func(n int) int) (string, error) {
	var b strings.Builder
	line := func(setting, about string) { fmt.Fprintf(&b, "%-34s # %s\n", setting, about) }
	optional := func(key, value, example, about string) {
		if value == "" {
			key, value = "# "+key, example
		}
		line(key+" = "+value, about)
	}
	description := ""
	if n.Description != "" {
		description = tomlText(n.Description)
	}
	if n.Carrier != "" {
		fmt.Fprintf(&b, "# %s.toml: one packet with a token, which only a key can make, opens the ports of `open`.\n", n.Name)
		fmt.Fprintf(&b, "# A key for each user: knockd key add USER %s. It needs nftables, and the service.\n\n", n.Name)
	} else {
		fmt.Fprintf(&b, "# %s.toml: knock on these ports, in this order, and the ports of `open` open.\n", n.Name)
		b.WriteString("# Server and client read the same file; each ignores what only the other needs.\n\n")
	}
	optional("description", description, `"what this is for"`, "shown in lists")
	optional("host", tomlTexts(n.Hosts...), `"db1.example.com"`, "for the client: a name, an address, or a list")
	if n.Carrier != "" {
		b.WriteString("\n")
		line("signed = { carrier = "+tomlText(n.Carrier)+" }", `what the token travels in: a ping, or a datagram, as "40123/udp"`)
	} else {
		ports, err := newPorts(intn, n.avoids)
		if err != nil {
			return "", err
		}
		b.WriteString("\n# Chosen at random. Keep them secret: whoever knows them can open the port.\n")
		fmt.Fprintf(&b, "sequence = [%s]\n", quoteAll(ports))
		line("within = "+tomlTexts(cmp.Or(n.Within, protocol.FormatDuration(protocol.DefaultWithin))), "longest time from one knock to the next")
	}
	b.WriteString("\n")
	line("open = ["+quoteAll(n.Open)+"]", `what the knocks open; ranges too, as "6000-6010/tcp"`)
	line("lease = "+tomlTexts(cmp.Or(n.Lease, protocol.FormatDuration(protocol.DefaultLease))), `how long new connections may be made; "0": no end`)
	b.WriteString(`
# renew = true                     # each new connection starts the lease again
# once = true                      # the first connection uses the lease up
# cut = true                       # established connections end with the lease
# close = "PORT/tcp"               # a knock that gives the lease back
# from = ["198.51.100.0/24"]       # only these sources can open it
# interface = "eth0"               # only what comes in here
# closed = "drop"                  # what others get: drop, reject or continue

[client]
gap = "10ms"                       # between two knocks
attempts = 3
`)
	return b.String(), nil
}

// quoteAll writes values as the items of a list.
func quoteAll[T fmt.Stringer](values []T) string {
	var all []string
	for _, v := range values {
		all = append(all, fmt.Sprintf("%q", v))
	}
	return strings.Join(all, ", ")
}

// tomlTexts writes one text as a string, several as a list; "" for none.
func tomlTexts(texts ...string) string {
	var all []string
	for _, t := range texts {
		all = append(all, tomlText(t))
	}
	switch {
	case len(all) == 0:
		return ""
	case len(all) == 1:
		return all[0]
	}
	return "[" + strings.Join(all, ", ") + "]"
}

// tomlText writes a text as a string of TOML: every string of JSON is one.
func tomlText(text string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(text) // a string always encodes
	return strings.TrimSuffix(b.String(), "\n")
}

func (n NewProfile) avoids(k protocol.Knock) bool {
	return scannedFirst(k) || n.Avoid != nil && n.Avoid(k) ||
		slices.ContainsFunc(n.Open, func(r protocol.PortRange) bool { return r.Contains(k) })
}

// newPorts chooses ports from 1024 up that may be knocked on and do not ascend.
func newPorts(intn func(n int) int, avoid func(protocol.Knock) bool) ([]protocol.Knock, error) {
	const least, count = 1024, 65536 - 1024
	var ports []protocol.Knock
	for len(ports) < newSequence {
		k := protocol.Knock{Proto: protocol.TCP}
		first := intn(count)
		// On to the next that will do: no luck is needed to come to an end.
		for i := 0; k.Port == 0 || slices.Contains(ports, k) || avoid(k); i++ {
			if i == count {
				return nil, errNoPorts
			}
			k.Port = uint16(least + (first+i)%count)
		}
		ports = append(ports, k)
	}
	if slices.IsSortedFunc(ports, protocol.Knock.Compare) {
		slices.Reverse(ports)
	}
	return ports, nil
}
