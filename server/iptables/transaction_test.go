package iptables_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"knockkit/protocol"
	"knockkit/server/iptables"
)

// host is a model of the tables filter and mangle: chains by name, which are unique, each a list of rules.
type host map[string][]string

// apply runs what iptables-restore --noflush understands, and nothing else.
func (h host) apply(text string) error {
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
			if at != "1" {
				return fmt.Errorf("%q: position %s", line, at)
			}
			h[chain] = slices.Insert(h[chain], 0, rule)
		case word == "-D" && slices.Contains(h[chain], rule):
			i := slices.Index(h[chain], rule)
			h[chain] = slices.Delete(slices.Clone(h[chain]), i, i+1)
		case word == "-X" && h[chain] != nil && len(h[chain]) == 0 && !h.refersTo(chain):
			delete(h, chain)
		default:
			return fmt.Errorf("iptables-restore would refuse %q", line)
		}
	}
	return nil
}

func (h host) refersTo(chain string) bool {
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
func (h host) save() string {
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
func installed(rules *iptables.Ruleset, jumpsAt ...int) host {
	h := host{
		"INPUT":      {"-p tcp -m tcp --dport 22 -j ACCEPT", "-j MINE"},
		"PREROUTING": {"-i eth9 -j MARK --set-xmark 0x7/0xffffffff", "-j ACCEPT"},
		"MINE":       {"-j RETURN"}, "KNOCKDX": {"-j DROP"},
	}
	for _, c := range rules.Chains {
		h[c.Name] = append([]string{}, c.Rules...)
	}
	for _, at := range jumpsAt {
		h["INPUT"] = slices.Insert(h["INPUT"], at, "-j KNOCKD")
		if rules.Chain("KNOCKD-PRE") != nil {
			h["PREROUTING"] = slices.Insert(h["PREROUTING"], at, "-j KNOCKD-PRE")
		}
	}
	return h
}

func TestATransactionTurnsWhateverIsThereIntoWhatIsWanted(t *testing.T) {
	for _, f := range protocol.Families() {
		was := &iptables.Ruleset{Family: f}
		rnd := rand.New(rand.NewPCG(1, uint64(f)))
		eachRandom(t, f, 80, func(seed uint64, in iptables.Input) {
			want := iptables.Render(in)
			if rnd.IntN(6) == 0 {
				want = &iptables.Ruleset{Family: f} // removal
			}
			jumps := [][]int{{0}, {0}, {2}, {1, 0}, {0, 1, 1}, {}}[rnd.IntN(6)]
			if was.Empty() {
				jumps = nil
			}
			h := installed(was, jumps...)
			saved, err := iptables.ParseSave(f, h.save())
			if err != nil {
				t.Fatal(err)
			}
			text := iptables.Transaction(saved, want)
			if text != "" {
				if err := h.apply(text); err != nil {
					t.Fatalf("seed %d: %v\n%s", seed, err, text)
				}
			}
			wanted := installed(want, 0)
			if want.Empty() {
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
	none := &iptables.Ruleset{Family: protocol.IPv4}
	if text := iptables.Transaction(&iptables.Saved{Ours: none}, none); text != "" {
		t.Errorf("got %q", text)
	}
}

// TestAllOfAChangeOfATableIsOneTransaction: the kernel forgets a recency
// table with the last rule that names it. One transaction frees the old rules
// after it has taken the new ones, so both must be in the same.
func TestAllOfAChangeOfATableIsOneTransaction(t *testing.T) {
	eachRandom(t, protocol.IPv4, 20, func(seed uint64, in iptables.Input) {
		rules, tables := iptables.Render(in), 1
		if rules.Chain("KNOCKD-PRE") != nil {
			tables = 2
		}
		text := rules.Text()
		if strings.Count(text, "COMMIT\n") != tables || strings.Count(text, "*filter\n") != 1 || !strings.HasSuffix(text, "COMMIT\n") {
			t.Fatalf("seed %d:\n%s", seed, text)
		}
	})
}
