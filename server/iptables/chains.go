package iptables

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
)

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
	prefixAt      = "KNOCKD-AT-"
	prefixIn      = "KNOCKD-IN-"
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

// base is a chain of the kernel's own, and ours that it jumps to first.
type base struct {
	table, chain, ours string
}

// bases are where our chains are called, in the order in which they are committed:
// the tables of the leases are made in filter, those that packets ask most first.
var bases = [...]base{{"filter", "INPUT", chainTop}, {"mangle", "PREROUTING", chainPre}}

// chains returns the chains of a ruleset that are in the base's table.
func (b base) chains(r *ruleset) []*chain {
	return slices.DeleteFunc(slices.Clone(r.Chains), func(c *chain) bool { return !b.holds(c.Name) })
}

// holds reports whether a chain of ours is in the base's table.
func (b base) holds(chain string) bool {
	early := chain == chainPre || strings.HasPrefix(chain, chainPre+"-")
	return Ours(chain) && early == (b.ours == chainPre)
}

// maxChainName is what iptables allows.
const maxChainName = 28

// Ours reports whether a chain is one of ours by its name.
func Ours(chain string) bool {
	return chain == chainTop || strings.HasPrefix(chain, chainTop+"-")
}

// chainName puts a profile's name, and for a state its step, behind a prefix.
// What does not fit is cut, and a digest keeps it apart from its like.
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
