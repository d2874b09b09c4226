package iptables

import (
	"fmt"
	"slices"
	"strings"

	"knockkit/internal/kernel/iptables/save"
	"knockkit/protocol"
	"knockkit/protocol/format"
)

// drift says where the rules of a family differ from those that the record stands for.
func (m *member) drift() []string {
	s := m.saved
	if s.ours.empty() && s.calls[0].n == 0 && s.calls[1].n == 0 {
		return nil
	}
	found := m.strayCalls()
	switch {
	case len(m.about.Profiles) == 0:
		return append(found, m.says("%s does not say any more what is installed: install it again", chainAbout))
	case m.automaton == nil:
		return append(found, m.says("the record of what is installed does not compile"))
	}
	want := render(m.about.input(m.automaton))
	for _, c := range want.Chains {
		if is := s.ours.chain(c.Name); is == nil {
			found = append(found, m.says("chain %s is gone", c.Name))
		} else if line := difference(c, is); line != "" {
			found = append(found, m.says("%s", line))
		}
	}
	for _, c := range s.ours.Chains {
		if want.chain(c.Name) == nil {
			found = append(found, m.says("chain %s is not one that we made", c.Name))
		}
	}
	return found
}

func (m *member) says(format string, args ...any) string {
	return fmt.Sprintf("%s: ", m.family) + fmt.Sprintf(format, args...)
}

// strayCalls says where the kernel's chains do not jump to ours exactly once, at the top.
func (m *member) strayCalls() []string {
	var found []string
	early := slices.ContainsFunc(m.about.Profiles, func(p *protocol.Profile) bool { return p.In(m.family) && beforeNAT(p) })
	for n, at := range bases {
		switch is := m.saved.calls[n]; {
		case is.first == 0 && at.ours == chainPre && !early:
		case is.first == 0 && at.ours == chainPre:
			found = append(found, m.says("%s does not jump to %s: nothing is gated before destination NAT", at.chain, at.ours))
		case is.first == 0:
			found = append(found, m.notCalled(at))
		case is.first > 1:
			found = append(found, m.says("%s jumps to %s at position %d, after %q", at.chain, at.ours, is.first, is.rules[0]))
		case is.n > 1:
			found = append(found, m.says("%s jumps to %s %d times", at.chain, at.ours, is.n))
		}
	}
	return found
}

func (m *member) notCalled(at base) string {
	return m.says("%s does not jump to %s: nothing is gated", at.chain, at.ours)
}

// difference describes the first rule that differs, or returns "".
func difference(want, is *chain) string {
	if slices.Equal(want.Rules, is.Rules) {
		return ""
	}
	bodies := 0 // the profile's own rules
	if strings.HasPrefix(want.Name, prefixOpen) || strings.HasPrefix(want.Name, prefixPreOpen) {
		bodies = len(want.Rules) - 1
	}
	for i := range max(len(want.Rules), len(is.Rules)) {
		switch {
		case i >= len(is.Rules):
			return fmt.Sprintf("%s lacks the rule %q", want.Name, want.Rules[i])
		case i >= len(want.Rules):
			return fmt.Sprintf("%s has a rule more: %q", want.Name, is.Rules[i])
		case !sameRule(want.Rules[i], is.Rules[i], i < bodies):
			return fmt.Sprintf("%s rule %d is %q", want.Name, i+1, is.Rules[i])
		}
	}
	return ""
}

// sameRule compares two rules without regard to the order of a match's options, which differs
// between versions of iptables-save. The tool may print a profile's own rule (body) otherwise than
// it was written: of that, only the verdict and the comment are compared.
func sameRule(x, y string, body bool) bool {
	if x == y {
		return true
	}
	xs, errX := save.Args(x)
	ys, errY := save.Args(y)
	switch {
	case errX != nil || errY != nil:
		return false
	case body:
		return jumpOf(xs) == jumpOf(ys) && argument(xs, "--comment") == argument(ys, "--comment")
	}
	return slices.EqualFunc(options(xs), options(ys), slices.Equal)
}

// options divides the arguments of a rule into those of the packet, of each match and of the target,
// and sorts each part. An option keeps its values, and the "!" before it.
func options(args []string) [][]string {
	parts := [][]string{nil}
	option := ""
	end := func() {
		if last := len(parts) - 1; option != "" {
			parts[last], option = append(parts[last], option), ""
		}
	}
	for i, a := range args {
		negated := i > 0 && args[i-1] == "!"
		switch {
		case a == "-m" || a == "-j" || a == "-g":
			end()
			parts = append(parts, nil)
		case a == "!" || strings.HasPrefix(a, "-") && !negated:
			end()
		}
		option += " " + a
	}
	end()
	for _, p := range parts {
		slices.Sort(p)
	}
	return parts
}

// missing says which of the installed profiles a family lacks. An install that was killed between
// the two families leaves that.
func (m *member) missing(profiles []*protocol.Profile) []string {
	var found []string
	for _, p := range profiles {
		switch is := m.about.profile(p.Name); {
		case is == p || !p.In(m.family):
		case is == nil:
			found = append(found, m.says("%s is not installed there: what it opens is open to all", p.Name))
		case format.Canonical(is) != format.Canonical(p):
			found = append(found, m.says("%s is another version there", p.Name))
		}
	}
	return found
}
