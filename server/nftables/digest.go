package nftables

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"

	"knockkit/server/backend"
)

// framed begins a part of an object: what it is, and its length.
func framed(b []byte, kind uint16, value []byte) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(b, kind), uint32(len(value)))
}

// digest is a checksum: what it has to notice are changes, by whoever may change anything. It is
// taken of all rules by each command, and a cryptographic one takes a tenth of that time.
type digest uint32

func (d digest) with(b []byte) digest { return digest(crc32.Update(uint32(d), crc32.IEEETable, b)) }

// markSize is how many digits a mark has.
const markSize = 8

// mark is the digest of our text of a thing that the kernel has, and of what the kernel made of
// that. So another version of the renderer is noticed too.
func (t *table) mark(x *thing, is *part) string {
	return fmt.Sprintf("%0*x", markSize, t.sum(digest(0).with([]byte(x.text())), is))
}

// sum adds a part, with the sets in its rules, and the elements of a fixed set in whichever
// order the kernel lists them.
func (t *table) sum(d digest, p *part) digest {
	d = d.with(binary.BigEndian.AppendUint32(nil, uint32(p.digest)))
	for _, name := range p.inRules {
		if s := t.sets[name]; s != nil {
			d = t.sum(d, s)
		}
	}
	for _, e := range slices.Sorted(slices.Values(p.raw)) {
		d = d.with([]byte(e))
	}
	return d
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
func (t *table) sealed(rules ruleset) seal {
	s := seal{}
	for _, x := range rules {
		if is := t.parts[x.String()]; is != nil {
			s[x.String()] = t.mark(x, is)
		}
	}
	return s
}

// text is the chain, as nft reads it; "" where a thing has no mark.
func (s seal) text(rules ruleset) string {
	var marks strings.Builder
	for _, x := range rules {
		if s[x.String()] == "" {
			return ""
		}
		marks.WriteString(s[x.String()])
	}
	c := &thing{kind: chainKind, name: sealChain}
	c.record(sealKind, marks.String())
	return ruleset{c}.text()
}

// parseSeal reads the chain back; nil where it is not there, or of other things.
func parseSeal(t *table, rules ruleset) seal {
	c, marks := t.chains[sealChain], ""
	if c == nil || len(rules) == 0 {
		return nil
	}
	err := backend.ReadRecords(c.comments, func(_, text string) error { marks += text; return nil })
	if err != nil || len(marks) != len(rules)*markSize {
		return nil
	}
	s := seal{}
	for i, x := range rules {
		s[x.String()] = marks[i*markSize : (i+1)*markSize]
	}
	return s
}

// of returns the part of a ruleset that the seal has marks of. It is empty where that would not
// help: what refers to a limit, or to a set that packets fill, would have to go with it.
func (s seal) of(rules ruleset) (marked ruleset) {
	for _, x := range rules {
		switch {
		case s[x.String()] != "":
			marked = append(marked, x)
		case x.kind == limitKind || x.dynamic:
			return nil
		}
	}
	return marked
}
