package protocol

import (
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Limits of a profile.
const (
	MaxProfileSize = 64 << 10       // bytes of a profile file
	MaxSequence    = 16             // knocks of a sequence
	MaxWithin      = 24 * time.Hour // longest time from one knock to the next
	DefaultWithin  = 10 * time.Second
	DefaultLease   = time.Hour
)

// MaxLease is the longest lease that ends: xt_recent makes jiffies of its seconds, up to 1000 of
// each, and keeps 32 bits. A longer one could end much too early.
const MaxLease = 49 * 24 * time.Hour

// Profile is a sequence of knocks, what it opens, and for how long. A Profile
// that ParseProfile of package format returns is valid.
type Profile struct {
	Name        string // the file's base name: [a-z0-9][a-z0-9-]{0,19}
	Description string
	Hosts       []string // client: names or addresses
	AnyHost     bool     // client: one of Hosts that opens is enough
	Enabled     bool     // a disabled profile is listed, never installed

	Sequence []Step        // 1 to MaxSequence knocks; empty for a signed profile
	Open     []PortRange   // one or more
	Lease    time.Duration // whole seconds; 0: until it is ended, or a full table pushes it out
	Renew    bool          // each new connection starts the lease again
	Once     bool          // the first connection uses the lease up
	Cut      bool          // established connections end with the lease
	Close    *Knock        // by which a lease holder gives its lease back; nil: none

	PrefixIPv4 int // bits of the source that a lease covers: 1 to 32
	PrefixIPv6 int // 1 to 128

	Local bool // its leases are this server's alone: `fleet = false`

	Family    Family
	From      []netip.Prefix // the source must lie in one of these; empty: any
	To        []netip.Prefix // the destination likewise
	Interface string         // where knocks and connections come in; "": any

	Place  Place  // on which hooks the gate is
	Reply  Reply  // what happens to a right knock
	Closed Closed // what a connection without a lease gets
	Opened Opened // extra rule bodies

	Signed *Signed // nil unless the sequence is replaced by a token
	Client Client
}

// Step is one knock of a sequence. Within is the longest time since the knock
// before it: whole seconds, 0 = no limit. It is 0 on the first step.
type Step struct {
	Knock  Knock
	Within time.Duration
}

// Opened holds extra rule bodies that run for packets of a lease holder before
// they are accepted, as the text after "-A CHAIN" (iptables) or a statement (nft).
type Opened struct {
	IPTables, IP6Tables, NFTables []string
}

// Signed says that one packet with a one-time token replaces the sequence.
type Signed struct {
	Carrier Knock // icmp or PORT/udp
}

// IsSigned reports whether a token opens the profile.
func (p *Profile) IsSigned() bool { return p.Signed != nil }

// Client holds the timing of the client.
type Client struct {
	Gap      time.Duration // between two knocks of the first attempt
	Attempts int           // at least 1
	Verify   bool          // connect to the first opened TCP port afterwards
}

// The client's defaults.
const (
	DefaultGap      = 10 * time.Millisecond
	DefaultAttempts = 3
)

// Reply is what happens to a right knock.
type Reply uint8

// The replies, as a profile names them in lower case.
const (
	ReplyContinue Reply = iota
	ReplyAccept
	ReplyDrop
	ReplyReject
)

// String returns "continue", "accept", "drop" or "reject".
func (r Reply) String() string {
	return []string{"continue", "accept", "drop", "reject"}[r]
}

// Closed is what a connection without a lease gets.
type Closed uint8

// The kinds of closed, strictest first: where several profiles open one port,
// the lowest applies.
const (
	ClosedDrop Closed = iota
	ClosedReject
	ClosedContinue
)

// String returns "drop", "reject" or "continue".
func (c Closed) String() string { return []string{"drop", "reject", "continue"}[c] }

// Place is on which hooks a profile has its gate.
type Place uint8

// The places. A gate before destination NAT shuts out packets that would never come to the host's own
// input: connections to ports that containers publish. A packet that passes it and is for the host
// itself comes to the gate at the input too.
const (
	PlaceInput Place = iota
	PlacePrerouting
)

// String returns "input" or "prerouting".
func (p Place) String() string { return []string{"input", "prerouting"}[p] }

// In reports whether the profile has a gate on the given family: by `family`, and by the prefixes of
// `to`. A profile whose `from` has no prefix of the family still has its gate there: nobody can open
// it.
func (p *Profile) In(f Family) bool {
	if p.Family != Both && p.Family != f {
		return false
	}
	return len(p.To) == 0 || len(PrefixesIn(p.To, f)) > 0
}

// OpensIn reports whether any source of the family could open the profile.
func (p *Profile) OpensIn(f Family) bool {
	return p.In(f) && (len(p.From) == 0 || len(PrefixesIn(p.From, f)) > 0)
}

// Shared reports whether the servers of a fleet tell each other of the profile's leases. A lease for one
// connection would be one at each of them.
func (p *Profile) Shared() bool { return !p.Local && !p.Once }

// Path returns the first n knocks of the sequence.
func (p *Profile) Path(n int) []Knock {
	path := make([]Knock, n)
	for i := range path {
		path[i] = p.Sequence[i].Knock
	}
	return path
}

// Knocks returns the knocks that open the profile: its sequence, or the carrier of its token.
func (p *Profile) Knocks() []Knock {
	var all []Knock
	for _, s := range p.Sequence {
		all = append(all, s.Knock)
	}
	if p.Signed != nil {
		all = append(all, p.Signed.Carrier)
	}
	return all
}

// ShortestWithin returns the shortest limit of the sequence's times; 0: no knock has one.
func (p *Profile) ShortestWithin() time.Duration {
	var shortest time.Duration
	for _, s := range p.Sequence {
		if s.Within > 0 && (shortest == 0 || s.Within < shortest) {
			shortest = s.Within
		}
	}
	return shortest
}

// Prefix returns how many bits of a source a lease covers in the family.
func (p *Profile) Prefix(f Family) int {
	if f == IPv4 {
		return p.PrefixIPv4
	}
	return p.PrefixIPv6
}

// Find returns the profile of that name, or nil.
func Find(profiles []*Profile, name string) *Profile {
	for _, p := range profiles {
		if p.Name == name {
			return p
		}
	}
	return nil
}

// ByName compares profiles for sorting: as [slices.SortFunc] takes it.
func ByName(x, y *Profile) int { return strings.Compare(x.Name, y.Name) }

// PrefixesIn returns the prefixes that are of the family.
func PrefixesIn(prefixes []netip.Prefix, f Family) []netip.Prefix {
	return slices.DeleteFunc(slices.Clone(prefixes), func(p netip.Prefix) bool { return FamilyOf(p.Addr()) != f })
}
