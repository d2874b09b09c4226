package nftables

import (
	"fmt"

	"knockkit/server/backend"
)

// seldom matches as often as one rule reports what strangers could cause in bulk.
var seldom = fmt.Sprintf("limit rate %d/second burst %d packets", backend.LogRate, backend.LogBurst)

// Limit is a named rate limit that several rules share.
type Limit struct {
	Name        string
	Rate, Burst int // packets a second; packets at once
}

// The limits of what a stranger's packet can cause at every profile. A limit in
// each profile's chain is memory of its own to touch for each packet: with 1,000
// profiles a gated port cost 1.35 times what it does with one, and 1.15 with these.
// Where a source must have made a right knock before, rules have a limit each.
var (
	deniedLimit = Limit{"denied", backend.LogRateShared, backend.LogBurstShared}
	firstLimit  = Limit{"first-knock", backend.LogRateShared, backend.LogBurstShared}
)

// match lets through what is within the limit.
func (l Limit) match() string { return fmt.Sprintf("limit name %q", l.Name) }

// report tells whoever listens to our NFLOG group what happens to the packet, and
// goes on. Nobody has to listen.
func report(e backend.Event, profile string, step int) string {
	return fmt.Sprintf("log prefix \"%s\" group %d snaplen %d", backend.LogPrefix(e, profile, step), backend.LogGroup, backend.LogSnap)
}
