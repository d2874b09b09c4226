package protocol

import (
	"fmt"
)

// CheckTogether returns why the profiles cannot be installed side by side: a [*ConflictError] for
// each reason, none when they can. It compares what two profiles say about one port:
//
//   - one opens the port and the other knocks on it, by its sequence, its close knock or its
//     carrier: a packet would be a connection and a knock;
//   - a knock closes one profile and is in the sequence of the other, or carries its token: opening
//     one would close the other;
//   - both open the port, one before destination NAT and the other behind it: a source that holds
//     only the other's lease does not pass the first gate.
//
// Signed profiles may share a carrier, and a carrier may be a knock of a sequence: a right token is no
// event, and a packet with a wrong one is that knock. What they say about shared positions is checked by
// [Compile].
func CheckTogether(profiles []*Profile) []error {
	var conflicts []error
	sorted := sortedByName(profiles)
	knocks := make([][]Knock, len(sorted))
	for i, p := range sorted {
		knocks[i] = p.Knocks()
	}
	for i, p := range sorted {
		for j, q := range sorted {
			if i == j {
				continue
			}
			if what := together(p, q, knocks[j]); what != "" {
				conflicts = append(conflicts, &ConflictError{p.Name, q.Name, what})
			}
		}
	}
	return conflicts
}

// Check returns all reasons why the profiles cannot be installed side by side: those of
// [CheckTogether], and those of [Compile] for the first family that has any.
func Check(profiles []*Profile) []error {
	problems := CheckTogether(profiles)
	for _, f := range Families() {
		if _, err := Compile(profiles, f); err != nil {
			return append(problems, err)
		}
	}
	return problems
}

// together says what the ports or the close knock of p have against q and its knocks; "" for
// nothing.
func together(p, q *Profile, knocks []Knock) string {
	for _, k := range knocks {
		switch {
		case p.Opens(k):
			return fmt.Sprintf("%s opens %s, and it %s %s", p.Name, k, q.use(k), q.Name)
		case p.Close != nil && *p.Close == k:
			return fmt.Sprintf("%s closes %s, and it %s %s", k, p.Name, q.use(k), q.Name)
		}
	}
	if p.Place == PlacePrerouting && q.Place != PlacePrerouting {
		if r := commonPorts(p, q); r != "" {
			return fmt.Sprintf("both open %s, %s with place = \"prerouting\" and %s without: a lease of %s would not get past the gate of %s",
				r, p.Name, q.Name, q.Name, p.Name)
		}
	}
	if k := q.Close; k != nil && p.Opens(*k) {
		return fmt.Sprintf("%s opens %s, which closes %s", p.Name, k, q.Name)
	}
	return ""
}

// use says what a knock that opens the profile is to it.
func (p *Profile) use(k Knock) string {
	if p.Signed != nil && p.Signed.Carrier == k {
		return "carries the tokens of"
	}
	return "is a knock of"
}

// commonPorts returns the first ports that both open, or "".
func commonPorts(p, q *Profile) string {
	for _, r := range p.Open {
		for _, o := range q.Open {
			if both, ok := r.Intersect(o); ok {
				return both.String()
			}
		}
	}
	return ""
}
