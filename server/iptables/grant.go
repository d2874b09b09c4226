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

// match returns the rules for who may come: the holder, or of a holder that is a prefix
// what lies in one of the profile's sources.
func (g Grant) match(sources []netip.Prefix) []rule {
	who := slices.DeleteFunc(slices.Clone(sources), func(s netip.Prefix) bool { return !s.Overlaps(g.Holder) })
	wider := func(s netip.Prefix) bool { return s.Bits() <= g.Holder.Bits() }
	if len(sources) == 0 || slices.ContainsFunc(who, wider) {
		who = []netip.Prefix{g.Holder}
	}
	var rules []rule
	for _, from := range who {
		rules = append(rules, rule{prefix("-s", from), "-m time --datestop " + g.Until.Add(-time.Second).UTC().Format(dateForm), note("%s: granted by hand", g.Profile)})
	}
	return rules
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

// fitting returns the grants that are leases of the automaton's profiles as these are now:
// one for a prefix of another length, or for a source that may not come any more, is none.
func fitting(grants []Grant, a *protocol.Automaton) []Grant {
	return slices.DeleteFunc(slices.Clone(grants), func(g Grant) bool {
		return !slices.ContainsFunc(a.Profiles, func(p *protocol.Profile) bool {
			return p.Name == g.Profile && protocol.FamilyOf(g.Holder.Addr()) == a.Family && g.Holder.Bits() == p.Prefix(a.Family) &&
				(len(p.From) == 0 || slices.ContainsFunc(p.From, g.Holder.Overlaps))
		})
	})
}
