package iptables

import (
	"bufio"
	"fmt"
	"slices"
	"strings"

	"knockkit/protocol"
)

// Saved is what iptables-save says about the filter table of one family.
type Saved struct {
	Ours    *Ruleset
	Jump    int      // position of INPUT's jump to KNOCKD, from 1; 0: there is none
	Jumps   int      // how many such jumps there are
	Foreign []string // other people's rules that jump into our chains, as "-A …" lines
	Input   []string // the rules of INPUT, as saved
	Policy  string   // of INPUT: "ACCEPT", "DROP"
}

// ParseSave reads the output of iptables-save. Tables other than filter are only
// searched for foreign rules.
func ParseSave(family protocol.Family, text string) (*Saved, error) {
	s := &Saved{Ours: &Ruleset{Family: family}}
	inFilter := false
	lines := bufio.NewScanner(strings.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		switch {
		case strings.HasPrefix(line, "*"):
			inFilter = line == "*filter"
		case strings.HasPrefix(line, ":"):
			fields := strings.Fields(line[1:])
			if inFilter && len(fields) > 1 && Ours(fields[0]) {
				s.Ours.append(fields[0])
			} else if inFilter && len(fields) > 1 && fields[0] == "INPUT" {
				s.Policy = fields[1]
			}
		case strings.HasPrefix(line, "-A "):
			name, rule, _ := strings.Cut(line[len("-A "):], " ")
			if c := s.Ours.Chain(name); c != nil && inFilter {
				c.Rules = append(c.Rules, rule)
				continue
			}
			s.foreign(inFilter, name, rule, line)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("iptables-save: %w", err)
	}
	// As the kernel gets to see them: a text of ours declares them from Z to A.
	slices.SortFunc(s.Ours.Chains, func(x, y *Chain) int { return strings.Compare(x.Name, y.Name) })
	return s, nil
}

// foreign notes a rule that is not ours: INPUT's jump, or a way into our chains
// that we did not make.
func (s *Saved) foreign(inFilter bool, chain, rule, line string) {
	isInput := inFilter && chain == "INPUT"
	if isInput {
		s.Input = append(s.Input, rule)
		if rule == jump+chainTop {
			s.Jumps++
			if s.Jump == 0 {
				s.Jump = len(s.Input)
			}
			return
		}
	}
	if Ours(targetOf(rule)) {
		s.Foreign = append(s.Foreign, line)
	}
}
