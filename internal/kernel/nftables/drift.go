package nftables

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"

	"knockkit/internal/kernel/backend"
)

// drift says where the table differs from the one that its record stands for: a part is gone, or its
// mark is not the one in the seal. known has the marks of the parts that are as they were committed.
// marks is the seal; nil where there is none.
func (t *table) drift(rules ruleset, marks seal) (found []string, known seal) {
	say := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }
	if t.dormant {
		say("the table is dormant: nothing is gated")
	}
	known = seal{}
	for _, x := range rules {
		name := x.String()
		is := t.objects[name]
		if is == nil {
			say("%s is gone", x)
			continue
		}
		if mark := t.mark(x, is); marks[name] == mark {
			known[name] = mark
			continue
		}
		text := difference(x, is)
		if text == "" && marks != nil {
			text = fmt.Sprintf("%s is not as this version of knockd has committed it", x)
		}
		if text != "" {
			say("%s", text)
		}
	}
	for _, name := range t.strange(rules.byName()) {
		if slices.Contains(barrierNames, name) {
			say("%s is left of a commit that was interrupted, and shuts ports for everybody: install again", name)
		} else {
			say("%s is not one that we made", name)
		}
	}
	if marks == nil && len(rules) > 0 {
		say("whether the rules are as they were committed is not known, as after a commit that was interrupted: install again")
	}
	return found, known
}

// barrierNames are the chains that a killed commit leaves, with those of older versions.
var barrierNames = []string{
	chainKind + " " + barriers[0].chain, chainKind + " " + barriers[1].chain, chainKind + " hold", chainKind + " hold-early",
}

// strange returns the names, sorted, of the parts of the table that are not among the known ones.
func (t *table) strange(known map[string]*object) (names []string) {
	for name, x := range t.objects {
		if known[name] == nil && name != chainKind+" "+sealChain && !x.anonymous {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// ownBodies reports whether a chain has a profile's own rules, which may have comments of their own.
func ownBodies(chain string) bool {
	return strings.HasPrefix(chain, openPrefix) || strings.HasPrefix(chain, preOpenPrefix)
}

// difference says where a chain has another rule than it should, by the rules' comments, or that a
// set has another number of elements; "" where it sees no difference.
func difference(want *object, is *kernelObject) string {
	if !want.dynamic && len(want.elements) != len(is.raw) {
		return fmt.Sprintf("%s has %d elements, not %d", want, len(is.raw), len(want.elements))
	}
	if ownBodies(want.name) && len(want.rules) == len(is.comments) {
		return ""
	}
	inBrackets := func(comment string) string {
		if comment == "" {
			return ""
		}
		return " (" + comment + ")"
	}
	for i := range max(len(want.rules), len(is.comments)) {
		switch {
		case i >= len(is.comments):
			return fmt.Sprintf("%s lacks the rule %q%s", want, want.rules[i].text, inBrackets(want.rules[i].comment))
		case i >= len(want.rules):
			return fmt.Sprintf("%s has a rule more%s", want, inBrackets(is.comments[i]))
		case want.rules[i].comment != is.comments[i]:
			return fmt.Sprintf("rule %d of %s is not ours%s", i+1, want, inBrackets(is.comments[i]))
		}
	}
	return ""
}

// framed begins a part of an object in the digest: its kind, and its length.
func framed(b []byte, kind uint16, value []byte) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(b, kind), uint32(len(value)))
}

// digest is a checksum: whoever can change rules could change a mark too. Each command takes it of
// all rules; a cryptographic one would take a tenth of the command's time.
type digest uint32

func (d digest) with(b []byte) digest { return digest(crc32.Update(uint32(d), crc32.IEEETable, b)) }

// markSize is how many digits a mark has.
const markSize = 8

// mark is the digest of our text of an object and of the object in the kernel, so that another
// version of the renderer is noticed too.
func (t *table) mark(x *object, is *kernelObject) string {
	return fmt.Sprintf("%0*x", markSize, t.sum(digest(0).with([]byte(x.text())), is))
}

// sum adds a part of the kernel with the sets in its rules, and the elements of a fixed set in any
// order.
func (t *table) sum(d digest, p *kernelObject) digest {
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

// seal has the marks of the objects that were committed, by kind and name. In the kernel it is a
// chain that no packet reaches, with the marks in its comments, in the order of the objects.
type seal map[string]string

// The chain of the seal, and the word that begins its comments.
const (
	sealChain = "seal"
	sealKind  = "seal"
)

// sealed returns the marks of those objects that are in the kernel.
func (t *table) sealed(rules ruleset) seal {
	s := seal{}
	for _, x := range rules {
		if is := t.objects[x.String()]; is != nil {
			s[x.String()] = t.mark(x, is)
		}
	}
	return s
}

// text is the chain as nft reads it; "" where an object has no mark.
func (s seal) text(rules ruleset) string {
	var marks strings.Builder
	for _, x := range rules {
		if s[x.String()] == "" {
			return ""
		}
		marks.WriteString(s[x.String()])
	}
	c := &object{kind: chainKind, name: sealChain}
	c.record(sealKind, marks.String())
	return ruleset{c}.text()
}

// parseSeal reads the chain back; nil where it is missing, or is for other objects.
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

// of returns the objects that the seal has marks of. It is empty where a limit, or a set that
// packets fill, has no mark: all that refers to it would have to be written anew too.
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
