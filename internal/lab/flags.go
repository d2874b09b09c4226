package lab

import "strings"

// Flags are the flags of a TCP segment.
type Flags uint8

// The flags, with the values that they have on the wire.
const (
	FlagFIN Flags = 1 << iota
	FlagSYN
	FlagRST
	FlagPSH
	FlagACK
	FlagURG
	FlagECE
	FlagCWR
)

// Has reports whether all the given flags are set.
func (f Flags) Has(g Flags) bool { return f&g == g }

// String returns the names of the flags that are set: "syn", "syn+ack", "" for none.
func (f Flags) String() string {
	var names []string
	for i, name := range []string{"fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr"} {
		if f.Has(1 << i) {
			names = append(names, name)
		}
	}
	return strings.Join(names, "+")
}
