package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"knockkit/internal/kernel/backend"
	"knockkit/internal/rights"
	"knockkit/server"
)

func unreadable(f *facts) []Finding {
	var all []Finding
	for _, u := range f.Unread {
		todo := "see what the tool says"
		if errors.Is(u.Err, backend.ErrPrivilege) || errors.Is(u.Err, fs.ErrPermission) || errors.Is(u.Err, rights.ErrNoNetwork) {
			todo = "run it as root: sudo knockd doctor"
		}
		all = append(all, Finding{IDUnseen, Warning, fmt.Sprintf("could not look at %s: %v", u.What, u.Err),
			"what is not looked at may be broken", todo})
	}
	return all
}

// backends says which backend works here. The one that is not used need not.
func backends(f *facts) []Finding {
	used := f.Settings.Backend
	if f.anyInstalled() {
		used = f.Status.Backend
	}
	works := 0
	var all []Finding
	for _, t := range f.Trials {
		found := Finding{IDBackend, Note, fmt.Sprintf("backend %s does not work: %v", t.Backend, t.Err), "it is not the backend in use", ""}
		switch {
		case t.Err == nil:
			works++
			found = Finding{ID: IDBackend, Severity: OK, Found: "backend " + t.Backend + " works: a profile was installed in an empty network namespace"}
		case t.Backend == used:
			found.Severity, found.Why = Broken, "it is the backend in use: the next change of the rules fails"
			found.Todo = "install what is missing, or set backend in knockd.toml to the other one if that works"
		}
		all = append(all, found)
	}
	if len(f.Trials) > 0 && works == 0 && (used == "auto" || used == "") {
		all = append(all, Finding{IDBackend, Broken, "no backend works", "nothing can be gated on this host", "install iptables or nftables, and a kernel that has them"})
	}
	return all
}

// notInForce says why enabled profiles are not in force, without the rules of others: those are
// followed here further than `status` does ([Shadows]).
func notInForce(f *facts) []Finding {
	ids := map[server.ReasonKind]string{
		server.ReasonInstalled: IDInstalled, server.ReasonChanged: IDInstalled, server.ReasonDrift: IDDrift, server.ReasonForeign: IDForeignJump,
		server.ReasonInterface: IDInterface, server.ReasonTo: IDTo,
	}
	var all []Finding
	for _, r := range server.NotInForce(f.Status, f.Settings, f.Network, nil) {
		from := whatInstalled
		if r.Kind == server.ReasonInterface || r.Kind == server.ReasonTo {
			from = whatNetwork
		}
		if f.saw(from) && r.Kind != server.ReasonUnread { // which unreadable says
			all = append(all, Finding{ids[r.Kind], Broken, r.Found, r.Why, r.Todo})
		}
	}
	return all
}

// installed says what is installed, and what [notInForce] does not say.
func installed(f *facts) (all []Finding) {
	if !f.saw(whatInstalled) {
		for _, b := range f.Broken {
			if !b.Unread() {
				all = append(all, Finding{IDInstalled, Broken, "the file of profile " + b.Profile + " has errors", "it cannot be installed", "knockd profile check " + b.Profile})
			}
		}
		return all
	}
	n, enabled := 0, 0
	for _, p := range f.Status.Profiles {
		if p.Enabled {
			enabled++
		}
		if p.Live() {
			n++
		}
		if r, is := p.Leftover(); is {
			all = append(all, Finding{IDInstalled, Note, r.Found, r.Why, r.Todo})
		}
	}
	switch {
	case n == 0 && enabled == 0:
		all = append(all, Finding{IDInstalled, Note, "no profile is installed, and none is enabled", "nothing is gated",
			"knockd profile new NAME, then knockd install NAME"})
	case n > 0:
		all = append(all, Finding{ID: IDInstalled, Severity: OK, Found: fmt.Sprintf("profiles installed with %s: %d", f.Status.Backend, n)})
	}
	return all
}

func drift(f *facts) []Finding {
	if len(f.Status.Drift) > 0 || !f.anyInstalled() {
		return nil
	}
	return []Finding{{ID: IDDrift, Severity: OK, Found: "the rules are those that were committed"}}
}

// flavours warns of rules in both flavours of iptables: a packet comes to both, and a drop in one is
// final.
func flavours(f *facts) []Finding {
	if len(f.Flavours) < 2 {
		return nil
	}
	return []Finding{{IDFlavours, Warning, strings.Join(f.Flavours, " and ") + " both have rules",
		"a packet passes both: what one accepts the other may still drop, and `iptables -L` shows only one of them",
		"keep one: see update-alternatives --display iptables, then move the rules (iptables-legacy-save, iptables-nft-restore) and flush the other"}}
}

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

// reversePaths is about rp_filter: a strict one drops a packet that comes in on another interface
// than the answer would leave on; without any, a sender can forge sources of other networks.
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
	return []Finding{{IDClock, s, "the clock is not synchronised", why, "systemctl enable --now systemd-timesyncd, or start chrony or ntpd"}}
}
