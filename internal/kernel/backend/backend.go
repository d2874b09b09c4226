package backend

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"knockkit/protocol"
)

// Want is what a commit is to bring about: the automata of both families, and the settings that
// their meaning depends on.
type Want struct {
	IPv4, IPv6 *protocol.Automaton
	Policy     protocol.Policy

	// Trial says that the rules of before may come back: what they would need is kept until
	// the next commit.
	Trial bool

	// Carried are leases of another backend. They go into the same transaction, for the time
	// that they have left.
	Carried []Source
}

// Of returns the automaton of a family.
func (w Want) Of(f protocol.Family) *protocol.Automaton {
	if f == protocol.IPv4 {
		return w.IPv4
	}
	return w.IPv6
}

// Once reports whether a lease is for one connection.
func (w Want) Once(s Source) bool {
	p := protocol.Find(w.Of(protocol.FamilyOf(s.Address.Addr())).Profiles, s.Profile)
	return p != nil && p.Once
}

// Compile makes the automata of both families.
func Compile(profiles []*protocol.Profile, policy protocol.Policy) (Want, error) {
	v4, err4 := protocol.Compile(profiles, protocol.IPv4)
	v6, err6 := protocol.Compile(profiles, protocol.IPv6)
	if err4 != nil {
		return Want{}, err4
	}
	return Want{IPv4: v4, IPv6: v6, Policy: policy}, err6
}

// Text is what a tool of the host reads.
type Text struct {
	Family protocol.Family // Both where one text is for both
	Tool   string          // "iptables-restore --noflush --wait"
	Text   string          // "": nothing to do
}

// Installed is what is installed, by the record in the kernel.
type Installed struct {
	Profiles []*protocol.Profile // by name
	Policy   protocol.Policy
	Families []protocol.Family // families whose record can be read
	Unread   error             // why a record cannot be read: somebody has changed it; nil: all can
	Drift    []string          // where the rules are not those that were committed; a sentence each
	Foreign  []string          // rules of others that jump into our chains
}

// SourceState says what a source has, in the words of `status`.
type SourceState string

// The states of a source.
const (
	Knocking SourceState = "knocking"
	Open     SourceState = "open"
	Banned   SourceState = "banned"
	Fallen   SourceState = "fallen" // has fallen from a position, which counts towards a ban
)

// Source is one line of `status`: an address with a position, a lease or a ban.
type Source struct {
	Profile   string       // "" for a ban
	Address   netip.Prefix // a single address unless the profile has a `prefix`
	State     SourceState
	Step      int // knocks made; Steps for a lease
	Steps     int
	Left      time.Duration
	Unlimited bool // Left has no meaning: no end
	ByHand    bool // of a lease: for a time of its own, or wider than the profile's; else it may be from a knock

	// Users are those who have knocked for the lease, of a signed profile, the one who knocked last
	// first. The lease ends with the last of them. None: it was given by hand.
	Users []User
}

// User is somebody who has knocked for a lease of a signed profile.
type User struct {
	Name      string
	Key       string        // the ID of the key, see [protocol.Key.ID]
	Left      time.Duration // of this one's part of the lease
	Unlimited bool          // Left has no meaning: no end
}

// Fill says how full the kernel's tables are.
type Fill struct {
	Table string // its name in the kernel
	Limit int    // addresses that it holds at most

	// Entries counts the addresses in it. An entry of a recency table stays when its time is over.
	// Of a table that is nearly full, entries are left out that are over and would be forgotten
	// before any that is not.
	Entries int
}

// NearlyFull reports whether nine tenths of the room are taken.
func (f Fill) NearlyFull() bool { return f.Limit > 0 && 10*f.Entries >= 9*f.Limit }

// Sort orders sources by address.
func Sort(sources []Source) {
	slices.SortStableFunc(sources, func(x, y Source) int { return x.Address.Addr().Compare(y.Address.Addr()) })
}

// LongestLeases keeps one of two leases of a profile that an address has, one given by hand and one
// from a knock: the one that lasts longer, with the users of the other. The sources must be sorted.
func LongestLeases(sources []Source) []Source {
	var all []Source
next:
	for _, s := range sources {
		for i := len(all) - 1; i >= 0 && all[i].Address == s.Address; i-- {
			if o := &all[i]; o.Profile == s.Profile && o.State == Open && s.State == Open {
				users := slices.Concat(o.Users, s.Users) // one of both has none
				s.Users, o.Users = users, users
				if s.Unlimited || !o.Unlimited && s.Left > o.Left {
					*o = s
				}
				continue next
			}
		}
		all = append(all, s)
	}
	return all
}

// What a caller branches on.
var (
	// ErrStale says that the kernel has changed since a plan was made, and that the plan has changed
	// nothing: it has to be read and planned again.
	ErrStale = errors.New("the kernel has changed meanwhile")

	ErrPrivilege    = errors.New("this needs root (or CAP_NET_ADMIN)")
	ErrNotInstalled = errors.New("not installed")
	ErrUnsupported  = errors.New("this backend cannot do it")
)

// Unsupported returns an [ErrUnsupported] that says in words of its own what is missing.
func Unsupported(format string, args ...any) error { return unsupported{fmt.Errorf(format, args...)} }

type unsupported struct{ error }

func (unsupported) Is(target error) bool { return target == ErrUnsupported }

// ToolError says that a tool of the host refused a text.
type ToolError struct {
	Tool   string
	Output string // what it said
	Line   string // the line of the text that it names; "" if none
}

func (e *ToolError) Error() string {
	if e.Line == "" {
		return fmt.Sprintf("%s: %s", e.Tool, e.Output)
	}
	return fmt.Sprintf("%s: %s: %q", e.Tool, e.Output, e.Line)
}
