package iptables

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"knockkit/protocol"
	"knockkit/server/backend"
)

// Grant is a lease given by hand until a time of its own, or to a prefix: an entry of a
// recency table cannot be dated, nor cover more than the others, so it is a rule in the
// profile's gate.
type Grant struct {
	Profile string
	Holder  netip.Prefix
	Until   time.Time // whole seconds: the first moment after it; zero: no end
}

// dateForm is how the time match writes a second, in UTC. The one of --datestop
// still matches.
const dateForm = "2006-01-02T15:04:05"

// byHand ends the comment of such a rule. Behind it stands the holder where that is not
// what a lease of the profile covers, as the rule's own match may be narrower.
const byHand = ": granted by hand"

// match returns the rules for who may come: the holder, or of a holder that is a prefix
// what lies in one of the profile's sources.
func (g Grant) match(p *protocol.Profile) []rule {
	who := slices.DeleteFunc(slices.Clone(p.From), func(s netip.Prefix) bool { return !s.Overlaps(g.Holder) })
	if len(p.From) == 0 || backend.Within(g.Holder, who) {
		who = []netip.Prefix{g.Holder}
	}
	origin, until := g.Profile+byHand, ""
	if g.Holder.Bits() != p.Prefix(protocol.FamilyOf(g.Holder.Addr())) {
		origin += " to " + g.Holder.String()
	}
	if !g.Until.IsZero() {
		until = "-m time --datestop " + g.Until.Add(-time.Second).UTC().Format(dateForm)
	}
	var rules []rule
	for _, from := range who {
		rules = append(rules, rule{prefix("-s", from), until, note("%s", origin)})
	}
	return rules
}

// parseGrant reads the rule of a gate back.
func parseGrant(p *protocol.Profile, f protocol.Family, args []string) (Grant, bool) {
	to, ok := strings.CutPrefix(argument(args, "--comment"), p.Name+byHand)
	if !ok {
		return Grant{}, false
	}
	g := Grant{Profile: p.Name}
	holder, err := netip.ParsePrefix(argument(args, "-s"))
	g.Holder = netip.PrefixFrom(holder.Addr(), p.Prefix(f)).Masked()
	if to != "" {
		g.Holder, err = netip.ParsePrefix(strings.TrimPrefix(to, " to "))
	}
	if err != nil {
		return Grant{}, false
	}
	if date := argument(args, "--datestop"); date != "" {
		until, err := time.Parse(dateForm, date)
		if err != nil {
			return Grant{}, false
		}
		g.Until = until.Add(time.Second)
	}
	return g, true
}

// alive returns the grants that have not ended.
func alive(grants []Grant, now time.Time) []Grant {
	var kept []Grant
	for _, g := range grants {
		if g.Until.IsZero() || g.Until.After(now) {
			kept = append(kept, g)
		}
	}
	return kept
}

// fitting returns the grants that are leases of the automaton's profiles as these are now:
// one for less than the profile's prefix, or for a source that may not come any more, is none.
func fitting(grants []Grant, a *protocol.Automaton) []Grant {
	return slices.DeleteFunc(slices.Clone(grants), func(g Grant) bool {
		return !slices.ContainsFunc(a.Profiles, func(p *protocol.Profile) bool {
			return p.Name == g.Profile && protocol.FamilyOf(g.Holder.Addr()) == a.Family && g.Holder.Bits() <= p.Prefix(a.Family) &&
				(len(p.From) == 0 || slices.ContainsFunc(p.From, g.Holder.Overlaps))
		})
	})
}
