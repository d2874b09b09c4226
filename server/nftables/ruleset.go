package nftables

import (
	"fmt"
	"slices"
	"strings"
)

// TableName is the table that holds everything, in family inet.
const TableName = "knockd"

// Rule is one rule of a chain: its statements, and the comment that says where it
// comes from.
type Rule struct {
	Text    string
	Comment string
}

// Chain is a chain and its rules. Hook is the definition of a base chain, "" else.
type Chain struct {
	Name  string
	Hook  string
	Rules []Rule
}

// add appends a rule made of the parts that are not empty.
func (c *Chain) add(comment string, parts ...string) {
	parts = slices.DeleteFunc(parts, func(p string) bool { return p == "" })
	c.Rules = append(c.Rules, Rule{strings.Join(parts, " "), comment})
}

// Set is a set or a map. What is dynamic belongs to the packets: a commit leaves
// its elements alone. Of the others the elements are part of the ruleset.
type Set struct {
	Name     string
	Map      bool
	Type     string // as after `typeof`
	Flags    string
	Dynamic  bool
	Size     int // most elements; 0: the kernel's own 65,535, without room kept for them
	Elements []string
}

// Ruleset is the table.
type Ruleset struct {
	Limits []Limit
	Sets   []*Set
	Chains []*Chain
}

// Empty reports whether there is nothing in it.
func (r *Ruleset) Empty() bool { return len(r.Chains) == 0 }

// builder makes chains by name, once each.
type builder struct {
	out    *Ruleset
	chains map[string]*Chain
}

func (b *builder) chain(name string) *Chain {
	if c := b.chains[name]; c != nil {
		return c
	}
	c := &Chain{Name: name}
	b.chains[name] = c
	b.out.Chains = append(b.out.Chains, c)
	return c
}

// dynamic makes a set or map that packets fill.
func (b *builder) dynamic(name, typ string, size int) {
	b.out.Sets = append(b.out.Sets, &Set{Name: name, Map: strings.Contains(typ, " : "), Type: typ, Flags: "dynamic,timeout", Dynamic: true, Size: size})
}

// verdicts makes a map from key to verdict.
func (b *builder) verdicts(name, key, flags string, elements []string) {
	b.out.Sets = append(b.out.Sets, &Set{Name: name, Map: true, Type: key + " : verdict", Flags: flags, Elements: elements})
}

// positionsSize is how many sources can be in a position. When the map is full, the
// kernel refuses new ones: a flood of forged first knocks costs memory up to this
// bound (some 64 bytes each), and at 50,000 a second fills it in ten. A set that
// states its size gets room for its table at once, which was 11 s and 2 GB for the
// leases of 1,000 profiles.
const positionsSize = 1 << 19

// setSize is how many sources any other set holds.
const setSize = 65535

// kind is how nft names it.
func (s *Set) kind() string {
	if s.Map {
		return "map"
	}
	return "set"
}

func (s *Set) write(b *strings.Builder) {
	fmt.Fprintf(b, "\t%s %s {\n\t\ttypeof %s\n", s.kind(), s.Name, s.Type)
	if s.Size > 0 {
		fmt.Fprintf(b, "\t\tsize %d\n", s.Size)
	}
	if s.Flags != "" {
		fmt.Fprintf(b, "\t\tflags %s\n", s.Flags)
	}
	if len(s.Elements) > 0 {
		fmt.Fprintf(b, "\t\telements = {\n\t\t\t%s\n\t\t}\n", strings.Join(s.Elements, ",\n\t\t\t"))
	}
	b.WriteString("\t}\n")
}

func (l Limit) write(b *strings.Builder) {
	fmt.Fprintf(b, "\tlimit %s {\n\t\trate %d/second burst %d packets\n\t}\n", l.Name, l.Rate, l.Burst)
}

func (c *Chain) write(b *strings.Builder) {
	fmt.Fprintf(b, "\tchain %s {\n", c.Name)
	if c.Hook != "" {
		fmt.Fprintf(b, "\t\t%s\n", c.Hook)
	}
	for _, r := range c.Rules {
		fmt.Fprintf(b, "\t\t%s", r.Text)
		if r.Comment != "" {
			fmt.Fprintf(b, " comment \"%s\"", r.Comment)
		}
		b.WriteString("\n")
	}
	b.WriteString("\t}\n")
}

// tableOf is the text of the table with what is written in it.
func tableOf(write func(b *strings.Builder)) string {
	var b strings.Builder
	fmt.Fprintf(&b, "table inet %s {\n", TableName)
	write(&b)
	b.WriteString("}\n")
	return b.String()
}

// Text returns the table as `nft -f` reads it, and much as `nft list` prints it.
func (r *Ruleset) Text() string {
	return tableOf(func(b *strings.Builder) {
		for _, l := range r.Limits {
			l.write(b)
		}
		for _, s := range r.Sets {
			s.write(b)
		}
		for _, c := range r.Chains {
			c.write(b)
		}
	})
}

func (r *Ruleset) setsByName() map[string]*Set {
	sets := map[string]*Set{}
	for _, s := range r.Sets {
		sets[s.Name] = s
	}
	return sets
}

func (r *Ruleset) chainsByName() map[string]*Chain {
	chains := map[string]*Chain{}
	for _, c := range r.Chains {
		chains[c.Name] = c
	}
	return chains
}

// nothing reports whether there is nothing to write: a ruleset can be a part of one.
func (r *Ruleset) nothing() bool { return len(r.Limits)+len(r.Sets)+len(r.Chains) == 0 }
