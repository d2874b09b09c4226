package protocol

import (
	"encoding/hex"
	"testing"
	"time"
)

// The tokens are those that the program in docs/signed.md makes, which is not written in Go.
func TestTokensAreThoseOfAnotherProgram(t *testing.T) {
	var counted, zero [KeySize]byte
	for i := range counted {
		counted[i] = byte(i)
	}
	for _, v := range []struct {
		secret            [KeySize]byte
		profile, audience string
		slot              int64
		index             int
		want              string
	}{
		{counted, "admin", "db1", 0, 0, "7050b6c4c2e91ed275956d1b4045ab11"},
		{counted, "admin", "db1", 58823529, 0, "14cdc3268e88bf4b4c39d665b283d560"},
		{counted, "admin", "db1", 58823529, 7, "5fa8d00684bfa7bf079980ba576cf065"},
		{counted, "admin", "db2", 58823529, 0, "5c53d8b2be9e2a1ca721b295813d0f4a"},
		{counted, "mysql", "db1", 58823529, 0, "e444eca57eccdab56e730ceacb6c3123"},
		{zero, "admin", "db1", 58823529, 0, "a5ae5bcdd78659b4ef028709449eecb1"},
	} {
		k := Key{Profile: v.profile, User: "alice", Audience: v.audience, Secret: v.secret}
		if token := k.Token(v.slot, v.index); hex.EncodeToString(token[:]) != v.want {
			t.Errorf("token of %s at %s, slot %d, index %d: %x, not %s", v.profile, v.audience, v.slot, v.index, token, v.want)
		}
	}
	if k := (Key{Secret: counted}); k.ID() != "983effdd" {
		t.Errorf("the key's id is %s, not 983effdd", k.ID())
	}
}

func TestASlotIsThirtySecondsSince1970(t *testing.T) {
	at := time.Unix(1764705870, 0)
	for d, want := range map[time.Duration]int64{-time.Nanosecond: 58823528, 0: 58823529, SlotTime - time.Nanosecond: 58823529, SlotTime: 58823530} {
		if got := Slot(at.Add(d)); got != want {
			t.Errorf("%s after the slot begins, it is slot %d, not %d", d, got, want)
		}
	}
	if got := SlotStart(58823529); !got.Equal(at) {
		t.Errorf("slot 58823529 begins at %s, not %s", got, at)
	}
}

func TestNamesOfUsersAndAudiencesSurviveALink(t *testing.T) {
	for _, name := range []string{"alice", "0", "alice-laptop_2"} {
		if err := CheckUser(name); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{"", "Alice", "-a", "a.b", "a b", "aé", "abcdefghijklmnopqrstuvwxyz0123456789"} {
		if CheckUser(name) == nil {
			t.Errorf("%q passes as a user", name)
		}
	}
	for _, name := range []string{"db1", "db1.example.com", "DB_1"} {
		if err := CheckAudience(name); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{"", ".db1", "db 1", "db1\n", "db,1"} {
		if CheckAudience(name) == nil {
			t.Errorf("%q passes as an audience", name)
		}
	}
}
