package nftables

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"knockkit/internal/kernel/backend"
	"knockkit/protocol"
	"knockkit/protocol/format"
)

// maxComment is how much of a comment is used: less than a rule can hold.
const maxComment = 120

// about fills the chain that no packet reaches. Its comments are the record: the profiles and
// settings that the rules are made from.
func (r *renderer) about() {
	c := r.chain(aboutChain)
	c.record(aboutSettings, backend.JSON(settings{backend.RecordPolicy(r.want.Policy), r.next, r.trials, r.signedNumbers, r.nextSigned}))
	for _, p := range r.profiles() {
		c.record(aboutProfile, format.Canonical(p))
	}
	for _, p := range r.kept.profiles {
		c.record(aboutKept, format.Canonical(p))
	}
}

// The chain of the record, and the words that begin its comments.
const (
	aboutChain    = "about"
	aboutSettings = "settings"
	aboutProfile  = "profile"
	aboutKept     = "kept" // a profile of before a trial
)

// record writes a text of any length as comments. A comment cannot hold a double
// quote, so the two kinds of quote change places.
func (x *object) record(kind, text string) {
	text = strings.NewReplacer(`'`, `\u0027`, `"`, `'`).Replace(text)
	for _, comment := range backend.Record(kind, text, maxComment) {
		x.add(comment, "continue")
	}
}

// settings is what the rules are made from besides the profiles.
type settings struct {
	backend.PolicyRecord
	Next   number `json:"next"` // the first number of a position that was never used
	Trials int    `json:"trials,omitempty"`

	Signed     map[string]uint16 `json:"signed,omitempty"`     // numbers of signed profiles
	NextSigned uint16            `json:"nextSigned,omitempty"` // the first that was never used
}

// about is the record, and what else the rules are made from.
type about struct {
	profiles []*protocol.Profile
	policy   protocol.Policy
	input    // but for want
}

// with returns what the installed rules were made from; want is the automata of the record.
func (in *about) with(want backend.Want) input {
	all := in.input
	all.want = want
	return all
}

func (in *about) profile(name string) *protocol.Profile { return protocol.Find(in.profiles, name) }

// readAbout reads back what a commit wrote. An error means that somebody else has changed the table;
// then only the names of sets are read, and what a trial keeps is nobody's.
func readAbout(t *table) (*about, error) {
	sets := input{versions: versions{}, given: map[string]bool{}}
	for name, s := range t.sets {
		switch s.is.what {
		case opened:
			sets.versions[s.is.key] = s.is.version
		case given:
			sets.given[name] = true
		}
	}
	in, c := &about{input: sets}, t.chains[aboutChain]
	switch {
	case len(t.chains) == 0:
		return in, nil
	case c == nil || len(c.comments) == 0:
		return in, errors.New("chain about has no complete record any more: install again")
	}
	err := backend.ReadRecords(c.comments, func(kind, text string) (err error) {
		text = strings.ReplaceAll(text, `'`, `"`)
		switch kind {
		case aboutSettings:
			var s settings
			err = json.Unmarshal([]byte(text), &s)
			in.policy, in.next, in.trials = s.Policy(), s.Next, s.Trials
			in.signedNumbers, in.nextSigned = s.Signed, s.NextSigned
		case aboutProfile, aboutKept:
			var p *protocol.Profile
			p, err = format.ParseCanonical(text)
			if kind == aboutKept {
				in.kept.profiles = append(in.kept.profiles, p)
			} else {
				in.profiles = append(in.profiles, p)
			}
		default:
			err = fmt.Errorf("%q is not a piece of a record", kind)
		}
		return err
	})
	if err != nil {
		return &about{input: sets}, fmt.Errorf("chain about: %w", err)
	}
	in.kept.find(t)
	in.known = backend.ByKnocks(in.profiles, t.positions())
	return in, nil
}

// positions reads the numbers of positions from the comments of the rules that write them: "now at
// 0:2 mysql 2/3".
func (t *table) positions() map[string]number {
	positions := map[string]number{}
	for name, c := range t.chains {
		if ownBodies(name) {
			continue // a profile's own rules have comments of their own
		}
		for _, comment := range c.comments {
			if rest, ok := strings.CutPrefix(comment, positionComment); ok {
				digits, users, _ := strings.Cut(rest, " ")
				first, _, _ := strings.Cut(users, ",")
				if n, err := parseNumber(digits); err == nil {
					positions[first] = n
				}
			}
		}
	}
	return positions
}
