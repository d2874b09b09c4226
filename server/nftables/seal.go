package nftables

import (
	"maps"
	"strings"

	"knockkit/server/backend"
)

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
