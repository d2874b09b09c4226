package iptables

import (
	"net/netip"
	"slices"
	"time"

	"knockkit/protocol"
)

// Grant is a lease given by hand until a time of its own: an entry of a recency
// table cannot be dated, so it is a rule in the profile's gate.
type Grant struct {
	Profile string
	Holder  netip.Prefix
	Until   time.Time // whole seconds: the first moment after it
}

// dateForm is how the time match writes a second, in UTC. The one of --datestop
// still matches.
const dateForm = "2006-01-02T15:04:05"

func (g Grant) match() rule {
	return rule{prefix("-s", g.Holder), "-m time --datestop " + g.Until.Add(-time.Second).UTC().Format(dateForm), note("%s: granted by hand", g.Profile)}
}

// parseGrant reads the rule of a gate back.
func parseGrant(profile string, args []string) (Grant, bool) {
	g := Grant{Profile: profile}
	for i := 0; i+1 < len(args); i++ {
		switch args[i] {
		case "-s":
			holder, err := netip.ParsePrefix(args[i+1])
			if err != nil {
				return Grant{}, false
			}
			g.Holder = holder
		case "--datestop":
			until, err := time.Parse(dateForm, args[i+1])
			if err != nil {
				return Grant{}, false
			}
			g.Until = until.Add(time.Second)
		}
	}
	return g, g.Holder.IsValid() && !g.Until.IsZero()
}

// alive returns the grants that have not ended.
func alive(grants []Grant, now time.Time) []Grant {
	var kept []Grant
	for _, g := range grants {
		if g.Until.After(now) {
			kept = append(kept, g)
		}
	}
	return kept
}

// ofFamily returns the grants whose holders are of the family.
func ofFamily(grants []Grant, f protocol.Family) []Grant {
	return slices.DeleteFunc(slices.Clone(grants), func(g Grant) bool { return protocol.FamilyOf(g.Holder.Addr()) != f })
}
