package doctor

import (
	"strings"

	"knockkit/server"
)

// tableSize is about the recency tables of the iptables backend.
func tableSize(f *facts) []Finding {
	if f.Status.Backend != "iptables" || f.Recent.Limit == 0 {
		return nil
	}
	r, small := server.SmallTables(f.Recent)
	if !small {
		return []Finding{{ID: IDTableSize, Severity: OK, Found: r.Found}}
	}
	return []Finding{{IDTableSize, Warning, r.Found, r.Why, r.Todo}}
}

func tableFull(f *facts) []Finding {
	r, full := server.FullTables(f.Status.Backend, f.Status.Fill, f.Recent)
	if !full {
		return nil
	}
	return []Finding{{IDTableFull, Warning, r.Found, r.Why, r.Todo}}
}

// reversePaths: a strict filter drops what comes in by another interface than the
// answer would take; without any, sources on other networks can be forged.
func reversePaths(f *facts) []Finding {
	var all []Finding
	if len(f.strict) > 0 && f.interfaces > 1 {
		all = append(all, Finding{IDReversePath, Warning, "the reverse path filter is strict on " + strings.Join(f.strict, ", ") + ", and there are several interfaces",
			"knocks that come in by another interface than the answer would go out by are dropped before any rule, and nothing is reported",
			"if that can happen here: sysctl net.ipv4.conf.all.rp_filter=2"})
	}
	if len(f.off) > 0 {
		s, why := Note, "anybody upstream can forge any source: first knocks that fill the tables"
		if f.Status.Policy.Ban != nil {
			s, why = Warning, "anybody upstream can forge any source, and `ban` is set: a forged source bans its victim"
		}
		all = append(all, Finding{IDReversePath, s, "the reverse path filter is off on " + strings.Join(f.off, ", "), why,
			"sysctl net.ipv4.conf.all.rp_filter=2 (loose: it helps against sources without a route)"})
	}
	return all
}

func clock(f *facts) []Finding {
	if !f.Clock.Known {
		return nil
	}
	if f.Clock.Synchronised {
		return []Finding{{ID: IDClock, Severity: OK, Found: "the clock is synchronised"}}
	}
	s, why := Note, "nothing depends on it here but the end of leases given with `grant --for`"
	for _, p := range f.profiles() {
		if p.Signed != nil {
			s, why = Warning, "tokens of signed profiles are of slots of 30 seconds: a clock that is wrong by a minute shuts everybody out"
		}
	}
	return []Finding{{IDClock, s, "the clock is not synchronised", why, "start systemd-timesyncd, chrony or ntpd"}}
}
