package iptables

import (
	"crypto/sha256"
	"encoding/hex"
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
	chainCut      = "KNOCKD-CUT"
	prefixAt      = "KNOCKD-AT-"
	prefixIn      = "KNOCKD-IN-"
	prefixStay    = "KNOCKD-STAY-"
	prefixGate    = "KNOCKD-GATE-"
	prefixOpen    = "KNOCKD-OPEN-"
	prefixShut    = "KNOCKD-SHUT-"
)

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
	if len(name) <= maxChainName {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	tail := "~" + hex.EncodeToString(sum[:3])
	return name[:maxChainName-len(tail)] + tail
}
