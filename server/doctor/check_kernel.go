package doctor

import (
	"fmt"
	"strings"
)

// roomy is a table size above which nobody is forgotten in everyday use.
const roomy = 1000

// tableSize is about the recency tables of the iptables backend.
func tableSize(f *Facts) []Finding {
	if f.Status.Backend != "iptables" || f.TableLimit == 0 {
		return nil
	}
	found := fmt.Sprintf("the kernel remembers %d addresses a table (ip_list_tot of xt_recent)", f.TableLimit)
	if f.TableLimit >= roomy {
		return []Finding{{ID: IDTableSize, Severity: OK, Found: found}}
	}
	return []Finding{{IDTableSize, Warning, found,
		"one more pushes the oldest out without a word: a lease holder, or with forged first knocks everybody who is knocking", raise}}
}

const raise = "write `options xt_recent ip_list_tot=10000` into /etc/modprobe.d/knockd.conf and reboot; where xt_recent is built into the kernel, xt_recent.ip_list_tot=10000 on its command line; backend = \"nftables\" has room for 65,535"

func tableFull(f *Facts) []Finding {
	var full []string
	for _, t := range f.Status.Fill {
		if t.Limit > 0 && t.Entries >= t.Limit {
			full = append(full, t.Table)
		}
	}
	if len(full) == 0 {
		return nil
	}
	why, todo := "the oldest entry is forgotten for each new one", raise
	if f.Status.Backend == "nftables" {
		why, todo = "new knocks are refused until entries expire", "a flood of forged first knocks does that: a signed profile has no positions to fill"
	}
	return []Finding{{IDTableFull, Warning, "full: " + strings.Join(full, ", "), why, todo}}
}

// reversePaths: a strict filter drops what comes in by another interface than the
// answer would take; without any, sources on other networks can be forged.
func reversePaths(f *Facts) []Finding {
	var strict, off []string
	for _, i := range f.ReversePath {
		switch {
		case i.Strict:
			strict = append(strict, i.Name)
		case !i.Loose:
			off = append(off, i.Name)
		}
	}
	var all []Finding
	if len(strict) > 0 && len(f.ReversePath) > 1 {
		all = append(all, Finding{IDReversePath, Warning, "the reverse path filter is strict on " + strings.Join(strict, ", ") + ", and there are several interfaces",
			"knocks that come in by another interface than the answer would go out by are dropped before any rule, and nothing is reported",
			"if that can happen here: sysctl net.ipv4.conf.all.rp_filter=2"})
	}
	if len(off) > 0 {
		s, why := Note, "anybody upstream can forge any source: first knocks that fill the tables"
		if f.Status.Policy.Ban != nil {
			s, why = Warning, "anybody upstream can forge any source, and `ban` is set: a forged source bans its victim"
		}
		all = append(all, Finding{IDReversePath, s, "the reverse path filter is off on " + strings.Join(off, ", "), why,
			"sysctl net.ipv4.conf.all.rp_filter=2 (loose: it helps against sources without a route)"})
	}
	return all
}

func clock(f *Facts) []Finding {
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
