package ledger

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"knockkit/protocol"
	"knockkit/protocol/format"
)

// Memory is how long an ending is remembered: no lease with an end is longer. A lease without end that is
// older, and that a node tells of for the first time, comes from a node that was away for so long: nobody
// knows whether it was ended, so it is nothing.
const Memory = protocol.MaxLease

// MaxAhead is how far a stamp may be ahead of a node's own time.
const MaxAhead = 60 * time.Second

// Kind says what a statement is about.
type Kind string

// The kinds of statements.
const (
	Lease  Kind = "lease"  // Holder has a lease of Profile until End
	Ending Kind = "ending" // leases of Profile that holders inside Holder have, given before, are over
)

// Statement is what one node tells the others. Of two with the same [Statement.ID] the later one counts.
type Statement struct {
	Kind    Kind
	Profile string
	Holder  netip.Prefix // of an Ending: the zero Prefix is all holders
	User    string       // who has opened a lease of a signed profile; of an Ending: only what this user has opened
	Key     string       // the ID of the user's key; "" for an Ending
	ByHand  bool         // of a Lease: given by an operator

	Open  []protocol.PortRange // of a Lease: what it was given for; it opens nothing else
	End   time.Time            // of a Lease: when it is over; the zero Time: never. Of an Ending: until when it is remembered
	Spent []Spent              // of a Lease: the tokens that were spent for it lately

	Stamp int64  // when it was said, in nanoseconds since 1970, and later than all that its node knew
	Node  string // who said it
}

// Spent is a token that was used up.
type Spent struct {
	Token protocol.Token
	Until time.Time // when its slot is over for every clock
}

// ID names what a statement is about. It does not depend on the node that says it.
type ID [16]byte

// ID returns the ID of a statement.
func (s *Statement) ID() ID {
	text := fmt.Sprintf("%s\x00%s\x00%s\x00%s\x00%s\x00%t\x00%s", s.Kind, s.Profile, s.Holder, s.User, s.Key, s.ByHand, s.Open)
	sum := sha256.Sum256([]byte(text))
	return ID(sum[:16])
}

// after reports whether a statement counts more than another of the same ID. Of two that were said in the
// same nanosecond any order does that is the same everywhere.
func (s *Statement) after(o *Statement) bool {
	if s.Stamp != o.Stamp {
		return s.Stamp > o.Stamp
	}
	if s.Node != o.Node {
		return s.Node > o.Node
	}
	return s.End.After(o.End) // `renew` has made it longer since
}

// Over reports whether a statement has no meaning any more.
func (s *Statement) Over(now time.Time) bool { return !s.End.IsZero() && !s.End.After(now) }

// said is when a statement was said, by its stamp.
func (s *Statement) said() time.Time { return time.Unix(0, s.Stamp) }

// wire is the JSON form. Fields of later versions are passed over. End is in milliseconds since 1970, 0 for
// never.
type wire struct {
	Kind    Kind     `json:"kind"`
	Profile string   `json:"profile"`
	Holder  string   `json:"holder,omitempty"`
	User    string   `json:"user,omitempty"`
	Key     string   `json:"key,omitempty"`
	ByHand  bool     `json:"by_hand,omitempty"`
	Open    []string `json:"open,omitempty"`
	End     int64    `json:"end,omitempty"`
	Spent   []spent  `json:"spent,omitempty"`
	Stamp   int64    `json:"stamp"`
	Node    string   `json:"node"`
}

type spent struct {
	Token []byte `json:"token"`
	Until int64  `json:"until"`
}

// Encode returns the statement's text, JSON on one line.
func (s *Statement) Encode() []byte {
	w := wire{Kind: s.Kind, Profile: s.Profile, User: s.User, Key: s.Key, ByHand: s.ByHand, Stamp: s.Stamp, Node: s.Node}
	if s.Holder.IsValid() {
		w.Holder = s.Holder.String()
	}
	for _, o := range s.Open {
		w.Open = append(w.Open, o.String())
	}
	if !s.End.IsZero() {
		w.End = s.End.UnixMilli()
	}
	for _, x := range s.Spent {
		w.Spent = append(w.Spent, spent{x.Token[:], x.Until.UnixMilli()})
	}
	text, _ := json.Marshal(w) // these types have no errors
	return text
}

// ErrKind says that a statement is of a kind that only a later version knows.
var ErrKind = errors.New("a statement of an unknown kind")

// Decode reads what Encode has written. It fails for whatever no node says.
func Decode(text []byte) (s Statement, err error) {
	var w wire
	if err := json.Unmarshal(text, &w); err != nil {
		return s, fmt.Errorf("a statement: %w", err)
	}
	s = Statement{Kind: w.Kind, Profile: w.Profile, User: w.User, Key: w.Key, ByHand: w.ByHand, Stamp: w.Stamp, Node: w.Node}
	if w.Holder != "" {
		if s.Holder, err = netip.ParsePrefix(w.Holder); err != nil || s.Holder != protocol.UnmapPrefix(s.Holder).Masked() {
			return Statement{}, fmt.Errorf("a statement about %q, which is no prefix", w.Holder)
		}
	}
	for _, text := range w.Open {
		r, err := format.ParsePortRange(text)
		if err != nil {
			return Statement{}, fmt.Errorf("a statement: %w", err)
		}
		s.Open = append(s.Open, r)
	}
	if w.End != 0 {
		s.End = time.UnixMilli(w.End)
	}
	for _, x := range w.Spent {
		if len(x.Token) != protocol.TokenSize {
			return Statement{}, fmt.Errorf("a statement with a token of %d bytes", len(x.Token))
		}
		s.Spent = append(s.Spent, Spent{protocol.Token(x.Token), time.UnixMilli(x.Until)})
	}
	return s, s.check()
}

// check returns why no node says such a statement.
func (s *Statement) check() error {
	if err := format.CheckName(s.Profile); err != nil {
		return err
	}
	if s.User != "" {
		if err := protocol.CheckUser(s.User); err != nil {
			return err
		}
	}
	bad := func(why string) error { return fmt.Errorf("a statement about %s: %s", s.Profile, why) }
	switch s.Kind {
	case Lease:
		switch {
		case !s.Holder.IsValid() || s.Holder.Bits() == 0:
			return bad("a lease for everybody")
		case len(s.Open) == 0:
			return bad("a lease that opens nothing")
		case (s.User == "") != (s.Key == "") || s.User != "" && s.ByHand:
			return bad("a lease of a user without a key, or of both a user and an operator")
		case !s.End.IsZero() && s.End.Sub(s.said()) > Memory+MaxAhead:
			return bad("a lease that is longer than any")
		}
	case Ending:
		switch {
		case s.Key != "" || s.ByHand || len(s.Open)+len(s.Spent) > 0:
			return bad("an ending with what only a lease has")
		case s.End.IsZero() || s.End.Sub(s.said()) > Memory+MaxAhead:
			return bad("an ending that is remembered for longer than any")
		}
	default:
		return ErrKind
	}
	if s.Stamp <= 0 || s.Node == "" {
		return bad("nobody has said it")
	}
	return nil
}

// String is the statement in words, for the log.
func (s *Statement) String() string {
	var who []string
	if s.User != "" {
		who = append(who, s.User)
	}
	if s.Holder.IsValid() {
		who = append(who, protocol.PrefixText(s.Holder))
	}
	if len(who) == 0 {
		who = []string{"everybody"}
	}
	return fmt.Sprintf("%s of %s for %s", s.Kind, s.Profile, strings.Join(who, " from "))
}
