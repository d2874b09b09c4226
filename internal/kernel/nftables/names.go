package nftables

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"knockkit/protocol"
)

// number stands for a position in the kernel: in the map of positions and in the
// edges. It keeps its meaning as long as anything is installed, so that positions
// outlive a commit; numbers of positions that are gone are not used again.
type number uint32

// String writes the number in the form of a packet's priority, "major:minor" in
// hexadecimal digits.
func (n number) String() string { return fmt.Sprintf("%x:%x", uint32(n)>>16, uint32(n)&0xffff) }

// parseNumber reads what String writes.
func parseNumber(s string) (number, error) {
	var major, minor uint16
	_, err := fmt.Sscanf(s, "%x:%x", &major, &minor)
	return number(major)<<16 | number(minor), err
}

// leaseKey names a profile in a family: what the names of its sets of leases have in common.
func leaseKey(p *protocol.Profile, f protocol.Family) string { return digit(f) + "-" + p.Name }

// versions says which of its sets of leases a profile has in a family, by [leaseKey]; 0 and
// 1 are the first. It gets another where its leases are none any more ([backend.LeasesEnd]):
// what the rules of before still write is then in a set that the rules from now on do not ask.
type versions map[string]int

// lease is the set of the holders of a lease. The prefix length is in its name where a
// lease covers more than an address: elements of another length would never match.
func (v versions) lease(p *protocol.Profile, f protocol.Family) string {
	return v.set(opened, p, f, p.Prefix(f))
}

// given is the set of those who were given a lease by hand for a time of its own, or to a
// prefix of that many bits. Knocks leave it alone. It is there as long as somebody has one.
func (v versions) given(p *protocol.Profile, f protocol.Family, bits int) string {
	return v.set(given, p, f, bits)
}

// What the names of sets that packets fill begin with. A digit for the family follows.
const (
	opened         = "open"
	given          = "given"
	positionPrefix = "position"
	bannedPrefix   = "banned"
	fallPrefix     = "fall"
)

func (v versions) set(what string, p *protocol.Profile, f protocol.Family, bits int) string {
	return setName{what, leaseKey(p, f), bits, v[leaseKey(p, f)]}.String()
}

// rename returns the name that a set of leases has in these versions; another's stays.
func (v versions) rename(name string) string {
	s := parseSetName(name)
	if !s.leases() {
		return name
	}
	s.version = v[s.key]
	return s.String()
}

// setName is what the name of a set says that holds leases, bans, falls or positions. It is
// zero for all others: who has just used a lease, and the like, is nobody's to know.
type setName struct {
	what    string // as the name begins
	key     string // of leases; else only the digit of the family
	bits    int
	version int
}

// leases reports whether it is a set of leases.
func (s setName) leases() bool { return s.what == opened || s.what == given }

// String returns the name of a set of leases. What is usual is not in it.
func (s setName) String() string {
	name := s.what + s.key
	if s.bits != addressBits[s.key[:1]] {
		name += "." + strconv.Itoa(s.bits)
	}
	if s.version > 1 {
		name += ".v" + strconv.Itoa(s.version)
	}
	return name
}

// addressBits is the length of an address, by the digit of its family.
var addressBits = map[string]int{"4": 32, "6": 128}

var setNames = regexp.MustCompile(`^(?:(open|given)([46]-[a-z0-9-]+)(?:\.(\d+))?(?:\.v(\d+))?|(position|banned|fall)([46])(?:\.\d+)?)$`)

// parseSetName reads a name back.
func parseSetName(name string) setName {
	m := setNames.FindStringSubmatch(name)
	if m == nil {
		return setName{}
	}
	s := setName{what: m[1] + m[5], key: m[2] + m[6], version: 1}
	s.bits = addressBits[s.key[:1]]
	if m[3] != "" {
		s.bits, _ = strconv.Atoi(m[3]) // digits that we have written, as below
	}
	if m[4] != "" {
		s.version, _ = strconv.Atoi(m[4])
	}
	return s
}

// takenSet is the set of the sources that are taking a lease of a profile with `once`.
func takenSet(p *protocol.Profile, f protocol.Family) string { return "taken" + leaseKey(p, f) }

// usedSet is the set of the sources that have just used up a lease of a profile with `once`.
func usedSet(p *protocol.Profile, f protocol.Family) string { return "used" + leaseKey(p, f) }

// passedSet is the set of the sources whose connection is between the two gates of a
// profile with `once`.
func passedSet(p *protocol.Profile, f protocol.Family) string { return "passed" + leaseKey(p, f) }

// digit ends the names of what belongs to one family.
func digit(f protocol.Family) string { return strings.TrimPrefix(f.String(), "ipv") }
