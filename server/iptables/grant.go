package iptables

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"knockkit/protocol"
	"knockkit/server/backend"
)

// grant is a lease given by hand until a time of its own, or to a prefix: an entry of a
// recency table cannot be dated, nor cover more than the others, so it is a rule in the
// profile's gate.
type grant struct {
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
func (g grant) match(p *protocol.Profile) []rule {
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

// String is the record of it: "mysql 198.51.100.7/32 2030-01-01T00:00:00".
func (g grant) String() string {
	text := g.Profile + " " + g.Holder.String()
	if !g.Until.IsZero() {
		text += " " + g.Until.UTC().Format(dateForm)
	}
	return text
}

// parseGrant reads the record back.
func parseGrant(record string) (g grant, err error) {
	fields := strings.Fields(record)
	if len(fields) != 2 && len(fields) != 3 {
		return grant{}, fmt.Errorf("%q is no lease", record)
	}
	g.Profile = fields[0]
	if g.Holder, err = netip.ParsePrefix(fields[1]); err == nil && len(fields) == 3 {
		g.Until, err = time.Parse(dateForm, fields[2])
	}
	return g, err
}

// to reports whether it is the profile's to that holder.
func (g grant) to(profile string, holder netip.Prefix) bool {
	return g.Profile == profile && g.Holder == holder
}

// alive returns the grants that have not ended.
func alive(grants []grant, now time.Time) []grant {
	return slices.DeleteFunc(slices.Clone(grants), func(g grant) bool { return !g.Until.IsZero() && !g.Until.After(now) })
}

// fitting returns the grants that are leases of the automaton's profiles as these are now:
// one for less than the profile's prefix, or for a source that may not come any more, is none.
func fitting(grants []grant, a *protocol.Automaton) []grant {
	return slices.DeleteFunc(grants, func(g grant) bool {
		return !slices.ContainsFunc(a.Profiles, func(p *protocol.Profile) bool {
			return p.Name == g.Profile && protocol.FamilyOf(g.Holder.Addr()) == a.Family && g.Holder.Bits() <= p.Prefix(a.Family) &&
				(len(p.From) == 0 || slices.ContainsFunc(p.From, g.Holder.Overlaps))
		})
	})
}
