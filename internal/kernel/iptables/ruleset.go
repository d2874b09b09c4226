package iptables

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"knockkit/protocol"
)

// chain is a chain of ours and its rules, each as the text after "-A NAME ".
type chain struct {
	Name  string
	Rules []string
}

// add appends a rule made of the given parts.
func (c *chain) add(parts ...string) { c.Rules = append(c.Rules, rule(parts).String()) }

// ruleset is all that is installed in one family, in the order in which it is committed.
type ruleset struct {
	Family protocol.Family
	Chains []*chain
	byName map[string]*chain

	// Of a ruleset that was rendered, and is not empty:
	names *tables
	uses  []tableUse // all tables, as KNOCKD-ABOUT names them
}

// chain returns the chain of that name, or nil.
func (r *ruleset) chain(name string) *chain { return r.byName[name] }

// empty reports whether nothing is installed.
func (r *ruleset) empty() bool { return r == nil || len(r.Chains) == 0 }

// record returns the rules of KNOCKD-ABOUT.
func (r *ruleset) record() []string {
	if c := r.chain(chainAbout); c != nil {
		return c.Rules
	}
	return nil
}

// newChain appends an empty chain. The name must be new.
func (r *ruleset) newChain(name string) *chain {
	if len(name) > maxChainName || r.chain(name) != nil {
		panic(fmt.Sprintf("iptables: chain name %q is too long or taken", name)) // our own mistake, not input
	}
	return r.append(name)
}

func (r *ruleset) append(name string) *chain {
	if r.byName == nil {
		r.byName = map[string]*chain{}
	}
	c := &chain{Name: name}
	r.Chains, r.byName[name] = append(r.Chains, c), c
	return c
}

// portRules are the rules for the packets to one range of ports.
type portRules struct {
	first, last uint16
	rules       []rule // without the port match
}

// leafSize is how many ranges one chain asks for, one after the other. A rule that does not match
// costs some 20 ns, a jump somewhat more.
const leafSize = 8

// ways is into how many parts a long list of ranges is divided. More parts are fewer chains for a
// packet, and more rules in each. With four, a gate among 100 costs 1.24 times what it does alone,
// with two 1.30, with three 1.26.
const ways = 4

// split fills a chain with the rules for its ports. Many ranges are divided again and again, so that
// a packet passes few rules however many there are. A packet that matches none goes on to otherwise;
// "" is back to the host's rules.
func (r *ruleset) split(c *chain, prefix string, proto protocol.Proto, ranges []portRules, otherwise string) {
	if len(ranges) > leafSize {
		for part := range slices.Chunk(ranges, (len(ranges)+ways-1)/ways) {
			first, last := part[0].first, part[len(part)-1].last
			child := r.newChain(fit(fmt.Sprintf("%s-%d-%d", prefix, first, last)))
			c.add(ports(protocol.PortRange{Proto: proto, First: first, Last: last}), goTo+child.Name)
			r.split(child, prefix, proto, part, otherwise)
		}
	} else {
		for _, pr := range ranges {
			for _, ru := range pr.rules {
				c.add(append(rule{ports(protocol.PortRange{Proto: proto, First: pr.first, Last: pr.last})}, ru...)...)
			}
		}
	}
	if otherwise != "" {
		c.add(goTo + otherwise)
	}
}

// The chains. All names begin with chainTop; none of them is touched unless it does.
const (
	chainTop      = "KNOCKD"
	chainAbout    = "KNOCKD-ABOUT" // sorts before the rest: iptables-legacy hands chains over by name
	chainProgress = "KNOCKD-PROGRESS"
	chainOver     = "KNOCKD-OVER"
	chainFall     = "KNOCKD-FALL"
	chainBan      = "KNOCKD-BAN"
	chainBanned   = "KNOCKD-BANNED"
	chainStray    = "KNOCKD-STRAY"
	chainLate     = "KNOCKD-LATE"
	chainCut      = "KNOCKD-CUT"
	prefixNext    = "KNOCKD-NEXT-"
	prefixEnter   = "KNOCKD-ENTER-"
	prefixStay    = "KNOCKD-STAY-"
	prefixGate    = "KNOCKD-GATE-"
	prefixOpen    = "KNOCKD-OPEN-"
	prefixShut    = "KNOCKD-SHUT-"

	// Of profiles with place = "prerouting", in the table mangle.
	chainPre       = "KNOCKD-PRE"
	chainPreStray  = "KNOCKD-PRE-STRAY"
	chainPreBanned = "KNOCKD-PRE-BANNED"
	chainPreCut    = "KNOCKD-PRE-CUT"
	prefixPreOpen  = "KNOCKD-PRE-OPEN-"
	prefixPreShut  = "KNOCKD-PRE-SHUT-"
)

// base is a chain of the kernel's own, and our chain that it jumps to first.
type base struct {
	table, chain, ours string
}

// bases are the chains that jump to ours, in the order in which they are committed: the rules in
// filter make the tables of the leases, those that packets ask most first.
var bases = [...]base{{"filter", "INPUT", chainTop}, {"mangle", "PREROUTING", chainPre}}

// chains returns the chains of a ruleset that are in the base's table.
func (b base) chains(r *ruleset) []*chain {
	return slices.DeleteFunc(slices.Clone(r.Chains), func(c *chain) bool { return !b.has(c.Name) })
}

// has reports whether a chain of ours is in the base's table.
func (b base) has(chain string) bool {
	early := chain == chainPre || strings.HasPrefix(chain, chainPre+"-")
	return Ours(chain) && early == (b.ours == chainPre)
}

// maxChainName is what iptables allows.
const maxChainName = 28

// Ours reports whether a chain is one of ours by its name.
func Ours(chain string) bool {
	return chain == chainTop || strings.HasPrefix(chain, chainTop+"-")
}

// chainName puts a profile's name, and for a state its step, behind a prefix. A name that is too
// long is cut, and ends in a digest of the whole.
func chainName(prefix, profile string, step int) string {
	name := prefix + profile
	if step > 0 {
		name += "." + strconv.Itoa(step)
	}
	return fit(name)
}

func fit(name string) string {
	if len(name) <= maxChainName {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	tail := "~" + hex.EncodeToString(sum[:4])
	return name[:maxChainName-len(tail)] + tail
}

// input is what the rules of one family are made from.
type input struct {
	Automaton *protocol.Automaton
	Policy    protocol.Policy
	Positions map[string]string // names of tables that are in the kernel, as [about] has them; may be nil
	Shared    map[string]string // likewise
	Leases    map[string]string // likewise
	Taken     []string          // names that a new table may not have: the kernel has tables of these names
	Grants    []grant           // leases given by hand for a time of their own
	Spare     []table           // tables that are kept, whether packets ask them or not
}

// renderer is one run of render.
type renderer struct {
	input
	dialect
	*tables
	out *ruleset
}

// render returns the rules for the automaton. It is pure: the same input gives
// the same rules. With no profiles the ruleset is empty.
func render(in input) *ruleset {
	r := &renderer{
		input:   in,
		dialect: dialect{in.Automaton.Family},
		tables:  newTables(in),
		out:     &ruleset{Family: in.Automaton.Family},
	}
	if len(in.Automaton.Profiles) == 0 {
		return r.out
	}
	r.out.names, r.out.uses = r.tables, r.hottest(in.Policy.Ban, in.Spare)
	r.about()
	r.entry()
	r.progressChain()
	r.eachState(r.next)
	for i := 1; i < len(r.Automaton.States); i++ {
		r.enter(i)
	}
	r.startOver()
	r.portChains()
	r.gates()
	r.preroutingGates()
	return r.out
}
