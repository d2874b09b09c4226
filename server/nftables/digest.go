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
type digest struct {
	hash hash.Hash
	head [6]byte // of the part that is being added
}

func (d *digest) add(kind uint16, value []byte) {
	if d.hash == nil {
		d.hash = sha256.New()
	}
	binary.BigEndian.PutUint16(d.head[:], kind)
	binary.BigEndian.PutUint32(d.head[2:], uint32(len(value)))
	d.hash.Write(d.head[:])
	d.hash.Write(value)
}

// addAll adds the attributes of some kinds.
func (d *digest) addAll(attrs []byte, kinds ...uint16) {
	for kind, value := range attributes(attrs) {
		if slices.Contains(kinds, kind) {
			d.add(kind, value)
		}
	}
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

const (
	chainKind = "chain"
	limitKind = "limit"
)

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
		add(limitKind, l.Name, l.write)
	}
	for _, s := range r.Sets {
		add(s.kind(), s.Name, s.write)
	}
	for _, c := range r.Chains {
		add(chainKind, c.Name, c.write)
	}
	return all
}

// has reports whether the kernel has something of that kind and name.
func (t *table) has(x thing) bool {
	switch x.kind {
	case limitKind:
		return t.limits[x.name] != nil
	case chainKind:
		return t.chains[x.name] != nil
	}
	s := t.sets[x.name]
	return s != nil && s.kind() == x.kind
}

// markSize is how many digits a mark has: enough that no accident hits upon them.
const markSize = 8

// mark is a digest over our text of a thing that the kernel has, and over what the kernel made of
// that. So another version of the renderer is noticed too.
func (t *table) mark(x thing) string {
	h := sha256.New()
	h.Write([]byte(x.text))
	switch x.kind {
	case limitKind:
		h.Write(t.limits[x.name].sum())
	case chainKind:
		h.Write(t.chains[x.name].sum())
		for _, name := range t.chains[x.name].anonymous {
			if s := t.sets[name]; s != nil {
				s.writeTo(h)
			}
		}
	default:
		t.sets[x.name].writeTo(h)
	}
	return hex.EncodeToString(h.Sum(nil))[:markSize]
}

// writeTo adds a set, and the elements of a fixed one in whichever order the kernel lists them.
func (s *set) writeTo(h hash.Hash) {
	h.Write(s.sum())
	for _, e := range slices.Sorted(slices.Values(s.raw)) {
		h.Write([]byte(e))
	}
}

// seal holds the marks of things that were committed, by kind and name. In the kernel it is a
// chain that no packet reaches, with the marks in its comments, in the order of the things.
type seal map[string]string

// The chain of the seal, and what its comments begin with.
const (
	sealChain = "seal"
	sealKind  = "seal"
)

// sealed returns the marks of things that are in the kernel.
func (t *table) sealed(things []thing) seal {
	s := seal{}
	for _, x := range things {
		if t.has(x) {
			s[x.String()] = t.mark(x)
		}
	}
	return s
}

// text is the chain, as nft reads it; "" where a thing has no mark.
func (s seal) text(things []thing) string {
	var marks strings.Builder
	for _, x := range things {
		if s[x.String()] == "" {
			return ""
		}
		marks.WriteString(s[x.String()])
	}
	c := Chain{Name: sealChain}
	c.record(sealKind, marks.String())
	return tableOf(c.write)
}

// parseSeal reads the chain back; nil where it is not there, or of other things.
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
	if len(marks) != len(things)*markSize {
		return nil
	}
	s := seal{}
	for i, x := range things {
		s[x.String()] = marks[i*markSize : (i+1)*markSize]
	}
	return s
}

// with returns the seal with other marks in it.
func (s seal) with(others seal) seal {
	s = maps.Clone(s)
	maps.Copy(s, others)
	return s
}

// of returns the part of a ruleset that the seal has marks of. It is empty where that would not
// help: what refers to a limit, or to a set that packets fill, would have to go with it.
func (s seal) of(rules *Ruleset) *Ruleset {
	part := &Ruleset{}
	for _, l := range rules.Limits {
		if s[limitKind+" "+l.Name] == "" {
			return &Ruleset{}
		}
		part.Limits = append(part.Limits, l)
	}
	for _, x := range rules.Sets {
		switch marked := s[x.kind()+" "+x.Name] != ""; {
		case marked:
			part.Sets = append(part.Sets, x)
		case x.Dynamic:
			return &Ruleset{}
		}
	}
	for _, c := range rules.Chains {
		if s[chainKind+" "+c.Name] != "" {
			part.Chains = append(part.Chains, c)
		}
	}
	return part
}
