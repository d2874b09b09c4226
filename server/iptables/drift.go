package iptables

import (
	"fmt"
	"slices"
	"strings"

	"knockkit/protocol"
	"knockkit/server/iptables/save"
)

// drift says where the installed rules of a family are not those that its record
// stands for.
func drift(f protocol.Family, s *Saved, about *Installed) []string {
	if s.Ours.Empty() && s.Input.N == 0 && s.Prerouting.N == 0 {
		return nil
	}
	var found []string
	say := func(format string, args ...any) {
		found = append(found, fmt.Sprintf("%s: ", f)+fmt.Sprintf(format, args...))
	}
	early := slices.ContainsFunc(about.Profiles, func(p *protocol.Profile) bool { return p.In(f) && p.Place == protocol.PlacePrerouting })
	for _, at := range bases() {
		switch calls := s.calls(at); {
		case calls.First == 0 && at.ours == chainPre && !early:
		case calls.First == 0 && at.ours == chainPre:
			say("%s does not jump to %s: nothing is gated before destination NAT", at.chain, at.ours)
		case calls.First == 0:
			say("%s does not jump to %s: nothing is gated", at.chain, at.ours)
		case calls.First > 1:
			say("%s jumps to %s at position %d, after %q", at.chain, at.ours, calls.First, calls.Rules[0])
		case calls.N > 1:
			say("%s jumps to %s %d times", at.chain, at.ours, calls.N)
		}
	}
	if len(about.Profiles) == 0 {
		say("%s does not say any more what is installed: install it again", chainAbout)
		return found
	}
	a, err := protocol.Compile(about.Profiles, f)
	if err != nil {
		say("the record of what is installed does not compile: %v", err)
		return found
	}
	in := about.input(a)
	in.Grants, in.Spare = about.Grants, about.Spare
	want := Render(in)
	for _, c := range want.Chains {
		is := s.Ours.Chain(c.Name)
		if is == nil {
			say("chain %s is gone", c.Name)
			continue
		}
		if line := difference(c, is); line != "" {
			say("%s", line)
		}
	}
	for _, c := range s.Ours.Chains {
		if want.Chain(c.Name) == nil {
			say("chain %s is not one that we made", c.Name)
		}
	}
	return found
}

// difference describes the first rule that differs, or returns "".
func difference(want, is *Chain) string {
	bodies := 0 // the profile's own rules: the tool may print them otherwise
	if strings.HasPrefix(want.Name, prefixOpen) || strings.HasPrefix(want.Name, prefixPreOpen) {
		bodies = len(want.Rules) - 1
	}
	for i := range max(len(want.Rules), len(is.Rules)) {
		switch {
		case i >= len(is.Rules):
			return fmt.Sprintf("%s lacks the rule %q", want.Name, want.Rules[i])
		case i >= len(want.Rules):
			return fmt.Sprintf("%s has a rule more: %q", want.Name, is.Rules[i])
		case i >= bodies && !sameRule(want.Rules[i], is.Rules[i]):
			return fmt.Sprintf("%s rule %d is %q", want.Name, i+1, is.Rules[i])
		}
	}
	return ""
}

// sameRule compares two rules without regard to the order of their parts, which
// differs between versions of iptables-save.
func sameRule(x, y string) bool {
	if x == y {
		return true
	}
	xs, errX := save.Args(x)
	ys, errY := save.Args(y)
	if errX != nil || errY != nil {
		return false
	}
	slices.Sort(xs)
	slices.Sort(ys)
	return slices.Equal(xs, ys)
}

// missing says what the family lacks of what is installed: an install that was
// killed between the two families leaves that.
func missing(f protocol.Family, there, profiles []*protocol.Profile) []string {
	var found []string
	for _, p := range profiles {
		i := slices.IndexFunc(there, func(o *protocol.Profile) bool { return o.Name == p.Name })
		switch {
		case !p.In(f):
		case i < 0:
			found = append(found, fmt.Sprintf("%s: %s is not installed there: what it opens is open to all", f, p.Name))
		case there[i].Canonical() != p.Canonical():
			found = append(found, fmt.Sprintf("%s: %s is another version there", f, p.Name))
		}
	}
	return found
}
