package nftables

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"maps"
	"slices"
	"strings"

	"knockkit/server/backend"
)

// digest is a hash over parts of an object, each with what it is and its length.
type digest struct{ hash hash.Hash }

func (d *digest) add(kind uint16, value []byte) {
	if d.hash == nil {
		d.hash = sha256.New()
	}
	d.hash.Write(framed(nil, kind, value))
}

func framed(b []byte, kind uint16, value []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, kind)
	b = binary.BigEndian.AppendUint32(b, uint32(len(value)))
	return append(b, value...)
}

func (d *digest) sum() []byte {
	if d.hash == nil {
		return nil
	}
	return d.hash.Sum(nil)
}

// thing is a part of a ruleset that has a digest of its own: a chain, a set, a limit.
type thing struct {
	kind, name string
	text       string // as nft reads it
}

func (t thing) String() string { return t.kind + " " + t.name }

// things lists what a ruleset consists of.
func (r *Ruleset) things() []thing {
	var all []thing
	add := func(kind, name string, write func(*strings.Builder)) {
		var b strings.Builder
		write(&b)
		all = append(all, thing{kind, name, b.String()})
	}
	for _, l := range r.Limits {
		add("limit", l.Name, l.write)
	}
	for _, s := range r.Sets {
		add(s.kind(), s.Name, s.write)
	}
	for _, c := range r.Chains {
		add("chain", c.Name, c.write)
	}
	return all
}

// has reports whether the kernel has something of that kind and name.
func (t *table) has(x thing) bool { return t.digestOf(x) != nil }

func (t *table) digestOf(x thing) *digest {
	switch x.kind {
	case "limit":
		return t.limits[x.name]
	case "chain":
		if c := t.chains[x.name]; c != nil {
			return &c.digest
		}
	default:
		if s := t.sets[x.name]; s != nil && s.kind() == x.kind {
			return &s.digest
		}
	}
	return nil
}

// sealSize is how many digits of its digest each thing has in the seal: enough that no
// accident hits upon them.
const sealSize = 8

// digits is what the seal says of a thing: a digest over our text of it, and over what the
// kernel made of that. So another version of the renderer is noticed too.
func (t *table) digits(x thing) string {
	d := t.digestOf(x)
	if d == nil {
		return strings.Repeat("-", sealSize)
	}
	h := sha256.New()
	h.Write([]byte(x.text))
	h.Write(d.sum())
	switch {
	case x.kind == "chain":
		for _, name := range t.chains[x.name].anonymous {
			if s := t.sets[name]; s != nil {
				s.writeTo(h)
			}
		}
	case x.kind != "limit":
		t.sets[x.name].writeTo(h)
	}
	return hex.EncodeToString(h.Sum(nil))[:sealSize]
}

// writeTo adds the elements of a fixed set, in whichever order the kernel lists them.
func (s *set) writeTo(h hash.Hash) {
	h.Write(s.sum())
	for _, e := range slices.Sorted(slices.Values(s.raw)) {
		h.Write([]byte(e))
	}
}

// seal is a mark on each thing of a ruleset, by which a change of it is found.
type seal map[string]string // by kind and name

// sealed returns the seal of a ruleset that is in the kernel.
func (t *table) sealed(things []thing) seal {
	s := seal{}
	for _, x := range things {
		s[x.String()] = t.digits(x)
	}
	return s
}

// The chain that holds the seal, which no packet reaches, and what its comments begin with.
const (
	sealChain = "seal"
	sealKind  = "seal"
)

// text is the chain for the seal, as nft reads it. It names nothing: the marks are in the order of
// the things.
func (s seal) text(things []thing) string {
	var marks strings.Builder
	for _, x := range things {
		marks.WriteString(s[x.String()])
	}
	c := Chain{Name: sealChain}
	c.record(sealKind, marks.String())
	return tableOf(c.write)
}

// parseSeal reads it back, nil where it is not there or of something else.
func parseSeal(t *table, things []thing) seal {
	c := t.chains[sealChain]
	if c == nil || len(things) == 0 {
		return nil
	}
	records, marks := backend.Records{}, ""
	for _, comment := range c.comments {
		_, whole, err := records.Add(comment)
		if err != nil {
			return nil
		}
		marks += whole
	}
	if len(marks) != len(things)*sealSize {
		return nil
	}
	s := seal{}
	for i, x := range things {
		s[x.String()] = marks[i*sealSize : (i+1)*sealSize]
	}
	return s
}

// patched returns the seal with the marks of another in it.
func (s seal) patched(by seal) seal {
	s = maps.Clone(s)
	maps.Copy(s, by)
	return s
}
