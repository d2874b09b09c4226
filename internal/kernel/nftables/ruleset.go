package nftables

import (
	"fmt"
	"slices"
	"strings"
)

// TableName is the table that holds everything, in family inet.
const TableName = "knockd"

// object is a chain, a set, a map or a limit of the table, as it is to be.
type object struct {
	kind, name string   // as nft names them
	head       []string // the hook of a base chain, the type and the like of a set, the rate of a limit
	rules      []rule   // of a chain
	elements   []string // of a set
	dynamic    bool     // packets fill it: a commit leaves its elements alone
}

// The kinds of objects.
const (
	chainKind = "chain"
	setKind   = "set"
	mapKind   = "map"
	limitKind = "limit"
)

// rule is one rule of a chain: its statements, and the comment that is its origin.
type rule struct{ text, comment string }

// add appends a rule made of the parts that are not empty.
func (x *object) add(comment string, parts ...string) {
	parts = slices.DeleteFunc(parts, func(p string) bool { return p == "" })
	x.rules = append(x.rules, rule{strings.Join(parts, " "), comment})
}

// String names the object in the table.
func (x *object) String() string { return x.kind + " " + x.name }

// equal reports whether two objects of a kind and name are the same.
func (x *object) equal(y *object) bool {
	return slices.Equal(x.head, y.head) && slices.Equal(x.rules, y.rules) && slices.Equal(x.elements, y.elements)
}

// text returns the object as nft reads it, and much as it prints it.
func (x *object) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "\t%s {\n", x)
	for _, line := range x.head {
		fmt.Fprintf(&b, "\t\t%s\n", line)
	}
	for _, r := range x.rules {
		fmt.Fprintf(&b, "\t\t%s", r.text)
		if r.comment != "" {
			fmt.Fprintf(&b, " comment \"%s\"", r.comment)
		}
		b.WriteString("\n")
	}
	if len(x.elements) > 0 {
		fmt.Fprintf(&b, "\t\telements = {\n\t\t\t%s\n\t\t}\n", strings.Join(x.elements, ",\n\t\t\t"))
	}
	b.WriteString("\t}\n")
	return b.String()
}

// ruleset is the table, or a part of it: limits, then sets, then chains.
type ruleset []*object

// text returns the table as `nft -f` reads it.
func (all ruleset) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "table inet %s {\n", TableName)
	for _, x := range all {
		b.WriteString(x.text())
	}
	b.WriteString("}\n")
	return b.String()
}

// byName returns the objects by kind and name.
func (all ruleset) byName() map[string]*object {
	named := map[string]*object{}
	for _, x := range all {
		named[x.String()] = x
	}
	return named
}

// chain makes a chain, once.
func (r *renderer) chain(name string) *object {
	if r.byName[name] == nil {
		r.byName[name] = &object{kind: chainKind, name: name}
		r.chains = append(r.chains, r.byName[name])
	}
	return r.byName[name]
}

// dynamic makes a set or map that packets fill. size is how many elements it can have; 0: setSize,
// without memory taken for them at once.
func (r *renderer) dynamic(name, typ string, size int) {
	x := &object{kind: setKind, name: name, head: []string{"typeof " + typ}, dynamic: true}
	if strings.Contains(typ, " : ") {
		x.kind = mapKind
	}
	if size > 0 {
		x.head = append(x.head, fmt.Sprintf("size %d", size))
	}
	x.head = append(x.head, "flags dynamic,timeout")
	r.others = append(r.others, x)
}

// verdicts makes a map from key to verdict.
func (r *renderer) verdicts(name, key string, elements []string, flags ...string) {
	head := append([]string{"typeof " + key + " : verdict"}, flags...)
	r.others = append(r.others, &object{kind: mapKind, name: name, head: head, elements: elements})
}

// positionsSize is how many sources can be in a position. The kernel refuses new ones when the map
// is full: a flood of forged first knocks costs memory up to this bound (some 64 bytes each), and at
// 50,000 a second fills it in ten. A set with a stated size gets memory for its table at once, which
// was 11 s and 2 GB for the leases of 1,000 profiles.
const positionsSize = 1 << 19

// setSize is how many elements any other set can have: the kernel's own limit for a set without a
// size.
const setSize = 65535
