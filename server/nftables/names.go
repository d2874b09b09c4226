package nftables

import (
	"fmt"
	"strconv"
	"strings"

	"knockkit/protocol"
)

// Number stands for a position in the kernel: in the map of positions and in the
// edges. It keeps its meaning as long as anything is installed, so that positions
// outlive a commit; numbers of positions that are gone are not used again.
type Number uint32

// String writes the number in the form of a packet's priority, "major:minor" in
// hexadecimal digits.
func (n Number) String() string { return fmt.Sprintf("%x:%x", uint32(n)>>16, uint32(n)&0xffff) }

// parseNumber reads what String writes.
func parseNumber(s string) (Number, error) {
	major, minor, _ := strings.Cut(s, ":")
	hi, err := strconv.ParseUint(major, 16, 16)
	if err != nil {
		return 0, fmt.Errorf("position %q: %w", s, err)
	}
	lo, err := strconv.ParseUint(minor, 16, 16)
	if err != nil {
		return 0, fmt.Errorf("position %q: %w", s, err)
	}
	return Number(hi<<16 | lo), nil
}

// numbers maps the knocks of a position, as text, to its number.
type numbers struct {
	known map[string]Number
	next  Number // the first that was never used
}

func (n *numbers) of(path string) Number {
	if num, ok := n.known[path]; ok {
		return num
	}
	num := n.next
	n.known[path], n.next = num, num+1
	return num
}

// leaseSet is the set of the holders of a lease. The prefix length is in its name
// where a lease covers more than an address: elements of another length would
// never match.
func leaseSet(p *protocol.Profile, f protocol.Family) string { return holdersSet("open", p, f) }

// givenSet is the set of those who were given a lease by hand for a time of its own,
// which knocks leave alone. It is there as long as somebody has one.
func givenSet(p *protocol.Profile, f protocol.Family) string { return holdersSet(given, p, f) }

// given begins the names of such sets.
const given = "given"

func holdersSet(what string, p *protocol.Profile, f protocol.Family) string {
	name := what + digit(f) + "-" + p.Name
	if bits := p.Prefix(f); bits != f.Bits() {
		name += "." + strconv.Itoa(bits)
	}
	return name
}

// takenSet is the set of the sources that are taking a lease of a profile with `once`.
func takenSet(p *protocol.Profile, f protocol.Family) string {
	return "taken" + digit(f) + "-" + p.Name
}

// passedSet is the set of the sources whose connection is between the two gates of a
// profile with `once`.
func passedSet(p *protocol.Profile, f protocol.Family) string {
	return "passed" + digit(f) + "-" + p.Name
}

// digit ends the names of what belongs to one family.
func digit(f protocol.Family) string {
	if f == protocol.IPv4 {
		return "4"
	}
	return "6"
}
