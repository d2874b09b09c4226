package iptables

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"knockkit/protocol"
)

// host is a model of the tables filter and mangle: chains by name, which are unique, each a list of rules.
type hostModel map[string][]string

// apply runs what iptables-restore --noflush understands, and nothing else.
func (h hostModel) apply(text string) error {
	for _, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		word, rest, _ := strings.Cut(line, " ")
		chain, rule, _ := strings.Cut(rest, " ")
		switch {
		case line == "*filter" || line == "*mangle" || line == "COMMIT":
		case strings.HasPrefix(word, ":") && rest == "- [0:0]":
			h[word[1:]] = []string{} // makes it, or empties it
		case word == "-A" && h[chain] != nil:
			h[chain] = append(h[chain], rule)
		case word == "-I" && h[chain] != nil:
			at, rule, _ := strings.Cut(rule, " ")
			n, err := strconv.Atoi(at)
			if err != nil || n < 1 || n > len(h[chain])+1 {
				return fmt.Errorf("%q: position %s of %d", line, at, len(h[chain]))
			}
			h[chain] = slices.Insert(slices.Clone(h[chain]), n-1, rule)
		case word == "-D" && slices.Contains(h[chain], rule):
			i := slices.Index(h[chain], rule)
			h[chain] = slices.Delete(slices.Clone(h[chain]), i, i+1)
		case word == "-D" && regexp.MustCompile(`^\d+$`).MatchString(rule):
			n, err := strconv.Atoi(rule)
			if err != nil || n < 1 || n > len(h[chain]) {
				return fmt.Errorf("%q: there are %d rules", line, len(h[chain]))
			}
			h[chain] = slices.Delete(slices.Clone(h[chain]), n-1, n)
		case word == "-X" && h[chain] != nil && len(h[chain]) == 0 && !h.refersTo(chain):
			delete(h, chain)
		default:
			return fmt.Errorf("iptables-restore would refuse %q", line)
		}
	}
	return nil
}

func (h hostModel) refersTo(chain string) bool {
	for _, rules := range h {
		for _, rule := range rules {
			if strings.HasSuffix(rule, "-j "+chain) || strings.HasSuffix(rule, "-g "+chain) {
				return true
			}
		}
	}
	return false
}

// save prints the model as iptables-save would.
func (h hostModel) save() string {
	var b strings.Builder
	for _, table := range []string{"mangle", "filter"} {
		in := func(chain string) bool {
			early := chain == "PREROUTING" || chain == "KNOCKD-PRE" || strings.HasPrefix(chain, "KNOCKD-PRE-")
			return early == (table == "mangle")
		}
		fmt.Fprintf(&b, "*%s\n", table)
		for chain := range h {
			if in(chain) {
				fmt.Fprintf(&b, ":%s - [0:0]\n", chain)
			}
		}
		for chain, rules := range h {
			for _, rule := range rules {
				if in(chain) {
					fmt.Fprintf(&b, "-A %s %s\n", chain, rule)
				}
			}
		}
		b.WriteString("COMMIT\n")
	}
	return b.String()
}

// installed returns a host with rules of its own around n jumps to ours.
func installed(rules *ruleset, jumpsAt ...int) hostModel {
	h := hostModel{
		"INPUT":      {"-p tcp -m tcp --dport 22 -j ACCEPT", "-j MINE"},
		"PREROUTING": {"-i eth9 -j MARK --set-xmark 0x7/0xffffffff", "-j ACCEPT"},
		"MINE":       {"-j RETURN"}, "KNOCKDX": {"-j DROP"},
	}
	for _, c := range rules.Chains {
		h[c.Name] = append([]string{}, c.Rules...)
	}
	for _, at := range jumpsAt {
		h["INPUT"] = slices.Insert(h["INPUT"], at, "-j KNOCKD")
		if rules.chain("KNOCKD-PRE") != nil {
			h["PREROUTING"] = slices.Insert(h["PREROUTING"], at, "-j KNOCKD-PRE")
		}
	}
	return h
}

func TestATransactionTurnsWhateverIsThereIntoWhatIsWanted(t *testing.T) {
	for _, f := range protocol.Families() {
		was := &ruleset{Family: f}
		rnd := rand.New(rand.NewPCG(1, uint64(f)))
		eachRandom(t, f, 80, func(seed uint64, in input) {
			want := render(in)
			if rnd.IntN(6) == 0 {
				want = &ruleset{Family: f} // removal
			}
			jumps := [][]int{{0}, {0}, {2}, {1, 0}, {0, 1, 1}, {}}[rnd.IntN(6)]
			if was.empty() {
				jumps = nil
			}
			h := installed(was, jumps...)
			text := transaction(parseSaved(t, f, h.save()), want)
			if text != "" {
				if err := h.apply(text); err != nil {
					t.Fatalf("seed %d: %v\n%s", seed, err, text)
				}
			}
			wanted := installed(want, 0)
			if want.empty() {
				wanted = installed(want)
			}
			if diff := cmp.Diff(wanted, h); diff != "" {
				t.Fatalf("seed %d, jumps at %v: %s", seed, jumps, diff)
			}
			was = want
		})
	}
}

func TestNothingToDoIsNoText(t *testing.T) {
	none := &ruleset{Family: protocol.IPv4}
	if text := transaction(&saved{ours: none}, none); text != "" {
		t.Errorf("got %q", text)
	}
}

// TestAllOfAChangeOfATableIsOneTransaction: the kernel forgets a recency
// table with the last rule that names it. One transaction frees the old rules
// after it has taken the new ones, so both must be in the same.
func TestAllOfAChangeOfATableIsOneTransaction(t *testing.T) {
	eachRandom(t, protocol.IPv4, 20, func(seed uint64, in input) {
		rules, tables := render(in), 1
		if rules.chain("KNOCKD-PRE") != nil {
			tables = 2
		}
		text := rules.text()
		if strings.Count(text, "COMMIT\n") != tables || strings.Count(text, "*filter\n") != 1 || !strings.HasSuffix(text, "COMMIT\n") {
			t.Fatalf("seed %d:\n%s", seed, text)
		}
	})
}
