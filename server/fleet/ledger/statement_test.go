package ledger

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"knockkit/protocol"
)

var start = time.Unix(2_000_000_000, 0)

func lease(profile, holder string, lasts time.Duration) Statement {
	return Statement{Kind: Lease, Profile: profile, Holder: netip.MustParsePrefix(holder), Open: ports(profile), End: start.Add(lasts), Stamp: start.UnixNano(), Node: "db1"}
}

func ending(profile, within, user string) Statement {
	s := Statement{Kind: Ending, Profile: profile, User: user, End: start.Add(Memory), Stamp: start.UnixNano(), Node: "db2"}
	if within != "" {
		s.Holder = netip.MustParsePrefix(within)
	}
	return s
}

func TestAStatementIsReadAsItWasWritten(t *testing.T) {
	signed := lease("signed", "2001:db8::7/128", time.Hour)
	signed.User, signed.Key, signed.Spent = "alice", "0123abcd", []Spent{{protocol.Token{1, 2, 15: 3}, start.Add(time.Minute)}}
	endless := lease("mysql", "198.51.100.0/24", 0)
	endless.End, endless.ByHand = time.Time{}, true
	for name, s := range map[string]Statement{
		"a lease": lease("mysql", "198.51.100.7/32", time.Hour), "a user's": signed, "without end, by hand": endless,
		"an ending for all": ending("mysql", "", ""), "of a prefix": ending("mysql", "198.51.100.0/24", ""), "of a user": ending("signed", "", "alice"),
	} {
		read, err := Decode(s.Encode())
		if diff := cmp.Diff(s, read, cmpopts.EquateComparable(netip.Prefix{})); err != nil || diff != "" {
			t.Errorf("%s: %v %s", name, err, diff)
		}
		if read.ID() != s.ID() {
			t.Errorf("%s: another ID", name)
		}
	}
}

func TestWhatNoNodeSaysIsNoStatement(t *testing.T) {
	for name, change := range map[string]struct {
		old, new, says string
	}{
		"no JSON":               {`{"kind"`, `{kind`, "invalid character"},
		"no profile":            {`"mysql"`, `"My SQL"`, "My SQL"},
		"everybody":             {"198.51.100.7/32", "0.0.0.0/0", "for everybody"},
		"no holder":             {"198.51.100.7/32", "", "for everybody"},
		"bits beside a prefix":  {"198.51.100.7/32", "198.51.100.7/24", "no prefix"},
		"no ports":              {`"5/tcp"`, ``, "opens nothing"},
		"ports that are none":   {`5/tcp`, `99999/tcp`, "99999"},
		"no node":               {`"db1"`, `""`, "nobody has said it"},
		"no stamp":              {`"stamp":2`, `"stamp":-2`, "longer than any"},
		"fifty days":            {`"end":2000003600000`, `"end":2004320000000`, "longer than any"},
		"a user without a key":  {`"node"`, `"user":"alice","node"`, "without a key"},
		"a user that is none":   {`"node"`, `"user":"Alice","key":"0123abcd","node"`, "no name of a user"},
		"a user, and by hand":   {`"node"`, `"user":"alice","key":"0123abcd","by_hand":true,"node"`, "both a user and an operator"},
		"a token that is short": {`"node"`, `"spent":[{"token":"AAAA","until":1}],"node"`, "3 bytes"},
		"an ending with ports":  {`"lease"`, `"ending"`, "only a lease has"},
	} {
		s := lease("mysql", "198.51.100.7/32", time.Hour)
		text := string(s.Encode())
		if !strings.Contains(text, change.old) {
			t.Fatalf("%s: %s has no %s", name, text, change.old)
		}
		if _, err := Decode([]byte(strings.Replace(text, change.old, change.new, 1))); err == nil || !strings.Contains(err.Error(), change.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAKindOfALaterVersionIsPassedOver(t *testing.T) {
	s := lease("mysql", "198.51.100.7/32", time.Hour)
	s.Kind = "blessing"
	if _, err := Decode(s.Encode()); !errors.Is(err, ErrKind) {
		t.Errorf("%v", err)
	}
	text := strings.Replace(string(s.Encode()), `"blessing"`, `"lease","mood":"good"`, 1)
	if _, err := Decode([]byte(text)); err != nil {
		t.Errorf("a field of a later version: %v", err)
	}
}

// TestAnIDIsWhatAStatementIsAbout: two things that may both be
// true have two IDs.
func TestAnIDIsWhatAStatementIsAbout(t *testing.T) {
	same := lease("mysql", "198.51.100.7/32", time.Hour)
	later := same
	later.End, later.Stamp, later.Node, later.Spent = start.Add(2*time.Hour), same.Stamp+1, "db3", []Spent{{Until: start}}
	if same.ID() != later.ID() {
		t.Error("a later lease of the holder has another ID")
	}
	seen := map[ID]string{}
	other := same
	other.ByHand = true
	signed := same
	signed.User, signed.Key = "alice", "0123abcd"
	ports := same
	ports.Open = []protocol.PortRange{{Proto: protocol.TCP, First: 22, Last: 22}}
	all := ending("mysql", "", "")
	for name, s := range map[string]Statement{"": same, "by hand": other, "of a user": signed, "for other ports": ports, "of another profile": lease("web", "198.51.100.7/32", time.Hour),
		"of another holder": lease("mysql", "198.51.100.7/31", time.Hour), "an ending": ending("mysql", "198.51.100.7/32", ""), "an ending of all": all, "of a user's": ending("mysql", "", "alice")} {
		if was, ok := seen[s.ID()]; ok {
			t.Errorf("%q and %q have one ID", was, name)
		}
		seen[s.ID()] = name
	}
}

func FuzzAStatementIsReadOrRefused(f *testing.F) {
	for _, s := range []Statement{lease("mysql", "198.51.100.7/32", time.Hour), lease("signed", "2001:db8::/64", time.Minute), ending("mysql", "", "alice")} {
		f.Add(s.Encode())
	}
	f.Add([]byte(`{"kind":"lease","profile":"a","holder":"::ffff:1.2.3.4/128","open":["1-65535/tcp"],"end":-1,"stamp":1,"node":"x"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := Decode(text)
		if err != nil {
			return
		}
		again, err := Decode(s.Encode())
		if diff := cmp.Diff(s, again, cmpopts.EquateComparable(netip.Prefix{}), cmpopts.EquateEmpty()); err != nil || diff != "" {
			t.Fatalf("%v %s", err, diff)
		}
		l := New("here", 1)
		l.Merge(s.said(), s, 0, false)
		l.Converge(s.said(), profiles(), Kernel{}, nil, true)
	})
}
