package backend

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"knockkit/protocol"
)

// The record is kept in the kernel, in comments of rules that no packet reaches. A comment is short,
// so a text is cut into pieces, each as "KIND 1/3 TEXT".

// Record cuts a text into comments of at most size bytes.
func Record(kind, text string, size int) []string {
	piece := size - len(kind) - len(" 999/999 ")
	n := (len(text) + piece - 1) / piece
	comments := make([]string, n)
	for i := range comments {
		comments[i] = fmt.Sprintf("%s %d/%d %s", kind, i+1, n, text[i*piece:min(len(text), (i+1)*piece)])
	}
	return comments
}

// ReadRecords puts the pieces in comments together again, and calls each for every whole record,
// with its kind. After an error it goes on, and returns the first one: of each, or for a comment
// that is no piece of a record.
func ReadRecords(comments []string, each func(kind, text string) error) (first error) {
	begun := map[string][]string{} // pieces by kind
	for _, comment := range comments {
		kind, rest, _ := strings.Cut(comment, " ")
		count, piece, _ := strings.Cut(rest, " ")
		var i, n int
		if _, err := fmt.Sscanf(count, "%d/%d", &i, &n); err != nil {
			first = cmp.Or(first, fmt.Errorf("%q is not a piece of a record", comment))
			continue
		}
		begun[kind] = append(begun[kind], piece)
		switch {
		case i != len(begun[kind]):
			first = cmp.Or(first, fmt.Errorf("%q is not the next piece of a record", comment))
		case i >= n:
			first = cmp.Or(first, each(kind, strings.Join(begun[kind], "")))
			delete(begun, kind)
		}
	}
	for kind, pieces := range begun {
		first = cmp.Or(first, fmt.Errorf("a record %q ends after %d pieces", kind, len(pieces)))
	}
	return first
}

// ByKnocks turns names of positions in the kernel into knocks. named has what stands for a position
// in the kernel, by the position's first profile and step ("mysql 2/3"); the result has it by the
// position's knocks, as text.
func ByKnocks[T any](profiles []*protocol.Profile, named map[string]T) map[string]T {
	known := map[string]T{}
	for _, p := range profiles {
		for i := range p.Sequence {
			if t, ok := named[protocol.Use{Profile: p, Step: i + 1}.String()]; ok {
				known[protocol.PathText(p.Path(i+1))] = t
			}
		}
	}
	return known
}

// PolicyRecord is the policy in the form of the record.
type PolicyRecord struct {
	Strict    bool  `json:"strict"`
	BanAfter  int   `json:"ban_after,omitempty"`
	BanForSec int64 `json:"ban_for,omitempty"`
}

// RecordPolicy returns the record of a policy.
func RecordPolicy(p protocol.Policy) PolicyRecord {
	r := PolicyRecord{Strict: p.Strict}
	if p.Ban != nil {
		r.BanAfter, r.BanForSec = p.Ban.After, int64(p.Ban.For/time.Second)
	}
	return r
}

// Policy returns the policy of a record.
func (r PolicyRecord) Policy() protocol.Policy {
	p := protocol.Policy{Strict: r.Strict}
	if r.BanAfter > 0 {
		p.Ban = &protocol.Ban{After: r.BanAfter, For: time.Duration(r.BanForSec) * time.Second}
	}
	return p
}

// JSON returns a record, or a struct that has one in it, as one line.
func JSON(record any) string {
	text, err := json.Marshal(record)
	if err != nil {
		panic(err) // a struct of numbers always has a JSON form
	}
	return string(text)
}
