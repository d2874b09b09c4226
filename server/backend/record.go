package backend

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"knockkit/protocol"
)

// What is installed is kept in the kernel, in comments of rules that no packet
// reaches: a comment holds little, so that a text is cut into pieces, each as
// "KIND 1/3 TEXT".

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

// Records puts the pieces of records together again: those that have begun, by kind.
type Records map[string]*pieces

type pieces struct {
	text strings.Builder
	n    int // how many have come
}

// Add takes the next comment. whole is the record's text once all of it is there,
// else "". An error says that the comment is not a piece of a record.
func (r Records) Add(comment string) (kind, whole string, err error) {
	kind, rest, _ := strings.Cut(comment, " ")
	place, text, _ := strings.Cut(rest, " ")
	var i, n int
	if _, err := fmt.Sscanf(place, "%d/%d", &i, &n); err != nil {
		return kind, "", fmt.Errorf("%q is not a piece of a record", comment)
	}
	p := r[kind]
	if p == nil {
		p = &pieces{}
		r[kind] = p
	}
	if p.n++; i != p.n {
		return kind, "", fmt.Errorf("%q is not the next piece of a record", comment)
	}
	p.text.WriteString(text)
	if i < n {
		return kind, "", nil
	}
	delete(r, kind)
	return kind, p.text.String(), nil
}

// Whole returns an error if the last piece of a record has not come.
func (r Records) Whole() error {
	for kind, p := range r {
		return fmt.Errorf("a record %q ends after %d pieces", kind, p.n)
	}
	return nil
}

// ReadRecords hands each whole record among comments to each, by its kind, and returns the first error:
// of each, or of what is not a piece of a record.
func ReadRecords(comments []string, each func(kind, text string) error) (first error) {
	records := Records{}
	for _, comment := range comments {
		kind, text, err := records.Add(comment)
		if err == nil && text != "" {
			err = each(kind, text)
		}
		first = cmp.Or(first, err)
	}
	return cmp.Or(first, records.Whole())
}

// Known maps the knocks of positions, as text, to what stands for them in the kernel, which is
// named there by the first of its users ("mysql 2/3").
func Known[T any](profiles []*protocol.Profile, named map[string]T) map[string]T {
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

// PolicyRecord is the settings that the rules follow from, as one line of JSON has
// them.
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
