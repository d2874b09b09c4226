package protocol

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"regexp"
	"time"
)

// Sizes of signed knocks.
const (
	KeySize   = 32               // bytes of a key's secret
	TokenSize = 16               // bytes of a token: the payload of a signed knock begins with it
	SlotTime  = 30 * time.Second // how long a slot is
	Indexes   = 8                // tokens of a key in a slot

	// EarlySlots and LateSlots are how far the slot of a token may be from the server's own.
	EarlySlots = 1
	LateSlots  = 1
)

// maxLabel is how many bytes the names in a token may have.
const maxLabel = 64

// Token is a one-time value that opens a signed profile.
type Token [TokenSize]byte

// Key is what the tokens of one user for one profile at one server are made of.
type Key struct {
	Profile  string // as the server calls it: a client may have another name for it
	User     string // see [CheckUser]
	Audience string // the name that the server goes by: see [CheckAudience]
	Secret   [KeySize]byte
}

// Token returns the token of a slot. The index is 0 to Indexes-1.
//
// It is the first 16 bytes of HMAC-SHA256(secret, "knock/1" 0 profile 0 audience 0 slot 0 index), where
// the slot is 8 bytes, the highest first, and the index one: the construction of RFC 6238, with a
// longer output.
func (k *Key) Token(slot int64, index int) Token {
	message := append([]byte("knock/1\x00"), k.Profile...)
	message = append(message, 0)
	message = append(message, k.Audience...)
	message = append(message, 0)
	message = binary.BigEndian.AppendUint64(message, uint64(slot))
	message = append(message, 0, byte(index))
	h := hmac.New(sha256.New, k.Secret[:])
	h.Write(message)
	return Token(h.Sum(nil)[:TokenSize])
}

// ID returns 8 hexadecimal digits that tell a key from the others of its user, and nothing about the
// secret.
func (k *Key) ID() string {
	h := hmac.New(sha256.New, k.Secret[:])
	h.Write([]byte("knock/1 id"))
	return hex.EncodeToString(h.Sum(nil)[:4])
}

// Slot returns the number of the slot that a time is in: the time since 1970 in units of [SlotTime].
func Slot(t time.Time) int64 { return t.Unix() / int64(SlotTime/time.Second) }

// SlotStart returns when a slot begins.
func SlotStart(slot int64) time.Time { return time.Unix(slot*int64(SlotTime/time.Second), 0) }

var (
	userNames = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,31}$`)
	audiences = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)
)

// CheckUser returns why a text is no name of a user.
func CheckUser(name string) error {
	if !userNames.MatchString(name) {
		return fmt.Errorf("%q is no name of a user: lower-case letters, digits, hyphens and underscores, at most 32", name)
	}
	return nil
}

// CheckAudience returns why a text is no audience.
func CheckAudience(name string) error {
	if len(name) > maxLabel || !audiences.MatchString(name) {
		return fmt.Errorf("%q is no audience: letters, digits, dots, hyphens and underscores, at most %d", name, maxLabel)
	}
	return nil
}
