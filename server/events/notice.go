package events

import (
	"encoding/json"
	"fmt"
	"time"

	"knockkit/internal/kernel/backend"
)

// Kind says what happened.
type Kind string

// The kinds of notices.
const (
	Knock  = Kind(backend.ReportKnock)  // a right knock
	Grant  = Kind(backend.ReportGrant)  // a lease starts
	Reset  = Kind(backend.ReportReset)  // fell from a position
	Expire = Kind("expire")             // a position's or a lease's time is over
	Ban    = Kind(backend.ReportBan)    // a ban starts
	Denied = Kind(backend.ReportDenied) // a connection without a lease

	// By hand only, as a Grant may be too.
	Revoke  = Kind("revoke")  // a lease was ended
	Unban   = Kind("unban")   // a ban was lifted
	Install = Kind("install") // a profile was brought into the kernel
	Remove  = Kind("remove")  // a profile was taken out of it
)

// Scope is an act that is told beside Revokes, and to no person: which leases were to end, of the holders
// inside Address, whatever was found. A fleet has others.
const Scope = Kind("scope")

// Kinds lists all of them.
func Kinds() []Kind {
	return []Kind{Knock, Grant, Reset, Expire, Ban, Denied, Revoke, Unban, Install, Remove}
}

// Notice is something that happened to a source. Its JSON form is a line of `knockd watch --json`,
// and of the socket.
type Notice struct {
	Time    time.Time `json:"time"`
	Kind    Kind      `json:"event"`
	Profile string    `json:"profile"`          // "" for a ban and its end
	Address string    `json:"address"`          // or a prefix; "" for Install and Remove
	Step    int       `json:"step"`             // knocks made; Steps when a lease starts or ends
	Steps   int       `json:"steps"`            // 0 where the notice is about no position
	Detail  string    `json:"detail"`           // what happened, in words
	User    string    `json:"user,omitempty"`   // who has knocked for the lease of a signed profile, several with commas; "": none, or not known
	Key     string    `json:"key,omitempty"`    // of a Grant with a User: the ID of the key
	By      *By       `json:"by,omitempty"`     // nil: nobody did it by hand
	Closed  bool      `json:"closed,omitempty"` // of an Expire: the holder has given the lease back
	Token   string    `json:"token,omitempty"`  // of a Grant of a signed profile: the token that was spent, hexadecimal; not in a line of `watch`
	Act     *Act      `json:"act,omitempty"`    // with By: what was told; not in a line of `watch`
}

// String is the notice as a line of plain `knockd watch`, without its time.
func (e Notice) String() string {
	var text string
	for _, about := range []string{e.Address, e.Profile, e.User} {
		if about != "" {
			text += about + ": "
		}
	}
	if text += e.Detail; e.By != nil {
		text += ", by " + e.By.String()
	}
	return text
}

// Item is what watchers get: a notice, or the number of notices that were lost.
type Item struct {
	Notice Notice
	Lost   uint64 // > 0: there is no Notice
	Where  string // with Lost: what was too slow
}

// lostItem is the JSON form of an item without a notice.
type lostItem struct {
	Lost  uint64 `json:"lost"`
	Where string `json:"where"`
}

// MarshalJSON writes an item as a line of the socket.
func (i Item) MarshalJSON() ([]byte, error) {
	if i.Lost > 0 {
		return json.Marshal(lostItem{i.Lost, i.Where})
	}
	return json.Marshal(i.Notice)
}

// UnmarshalJSON reads what MarshalJSON writes.
func (i *Item) UnmarshalJSON(line []byte) error {
	var lost lostItem
	if err := json.Unmarshal(line, &lost); err != nil {
		return err
	}
	if *i = (Item{Lost: lost.Lost, Where: lost.Where}); i.Lost > 0 {
		return nil
	}
	return json.Unmarshal(line, &i.Notice)
}

// String is the item as a line for a person.
func (i Item) String() string {
	if i.Lost > 0 {
		return fmt.Sprintf("%d events were lost: %s", i.Lost, i.Where)
	}
	return i.Notice.String()
}
