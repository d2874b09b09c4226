package nftables

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"knockkit/protocol"
)

// number stands for a position in the kernel: in the map of positions and in the edges. It keeps its
// meaning as long as anything is installed, so that positions outlive a commit. A number whose
// position is gone is not used again.
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

// leaseKey names a profile in a family: the names of its sets of leases have this in common.
func leaseKey(p *protocol.Profile, f protocol.Family) string { return digit(f) + "-" + p.Name }

// versions says which of its sets of leases a profile has in a family, by [leaseKey]; 0 and 1 are
// the first. A profile gets another version when its leases end ([backend.LeasesEnd]): the old rules
// may write the old set until they are gone, and the new rules do not ask it.
type versions map[string]int

// lease is the set of the profile's lease holders. The prefix length is in its name where a lease
// covers more than an address: elements of another length would never match.
func (v versions) lease(p *protocol.Profile, f protocol.Family) string {
	return v.set(opened, p, f, p.Prefix(f))
}

// given is the set of leases given by hand, for a time of their own or to a prefix of that many
// bits. Knocks do not change it. It is there as long as it has an element.
func (v versions) given(p *protocol.Profile, f protocol.Family, bits int) string {
	return v.set(given, p, f, bits)
}

// The words that begin the names of sets that packets fill. A digit for the family follows.
const (
	opened         = "open"
	given          = "given"
	positionPrefix = "position"
	bannedPrefix   = "banned"
	fallPrefix     = "fall"
	keptPrefix     = "kept-" // the name of another set follows
)

func (v versions) set(what string, p *protocol.Profile, f protocol.Family, bits int) string {
	return setName{what, leaseKey(p, f), bits, v[leaseKey(p, f)]}.String()
}

// rename returns the name of a set of leases in these versions. The name of any other set stays.
func (v versions) rename(name string) string {
	s := parseSetName(name)
	if !s.leases() {
		return name
	}
	s.version = v[s.key]
	return s.String()
}

// setName is the parsed name of a set of leases, bans, falls or positions, or of one that a trial
// keeps, of which only the family is parsed. It is zero for all other sets: nobody reads those that
// say who has just used a lease.
type setName struct {
	what    string // the word that the name begins with
	key     string // of leases: see leaseKey; else the digit of the family
	bits    int
	version int
}

// leases reports whether it is a set of leases.
func (s setName) leases() bool { return s.what == opened || s.what == given }

// String returns the name of a set of leases. The usual length and version are left out.
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
	if kept, ok := strings.CutPrefix(name, keptPrefix); ok {
		if s := parseSetName(kept); s.what != "" {
			return setName{what: keptPrefix, key: s.key[:1]}
		}
	}
	m := setNames.FindStringSubmatch(name)
	if m == nil {
		return setName{}
	}
	s := setName{what: m[1] + m[5], key: m[2] + m[6], version: 1}
	s.bits = addressBits[s.key[:1]]
	if m[3] != "" {
		s.bits, _ = strconv.Atoi(m[3]) // digits; of too many, the highest number, as below
	}
	if m[4] != "" {
		s.version, _ = strconv.Atoi(m[4])
	}
	if s.bits > addressBits[s.key[:1]] {
		return setName{}
	}
	return s
}

// takenSet is the set of the sources that are taking a lease of a profile with `once` in this
// moment.
func takenSet(p *protocol.Profile, f protocol.Family) string { return "taken" + leaseKey(p, f) }

// usedSet is the set of the sources that have just used up a lease of a profile with `once`.
func usedSet(p *protocol.Profile, f protocol.Family) string { return "used" + leaseKey(p, f) }

// passedSet is the set of the sources whose connection is between the two gates of a profile with
// `once`.
func passedSet(p *protocol.Profile, f protocol.Family) string { return "passed" + leaseKey(p, f) }

// digit ends the names that belong to one family.
func digit(f protocol.Family) string { return strings.TrimPrefix(f.String(), "ipv") }
