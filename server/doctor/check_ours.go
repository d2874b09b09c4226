package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"knockkit/server"
	"knockkit/server/backend"
)

func unseen(f *Facts) []Finding {
	var all []Finding
	for _, u := range f.Unseen {
		todo := "see what the tool says"
		if errors.Is(u.Err, backend.ErrPrivilege) || errors.Is(u.Err, fs.ErrPermission) || errors.Is(u.Err, errNoNamespace) {
			todo = "run it as root: sudo knockd doctor"
		}
		all = append(all, Finding{IDUnseen, Warning, fmt.Sprintf("could not look at %s: %v", u.What, u.Err),
			"what is not looked at may be broken", todo})
	}
	return all
}

// backends says which backend works here. One that is not used may be missing.
func backends(f *Facts) []Finding {
	used := f.Status.Backend
	if used == "" {
		used = f.Settings.Backend
	}
	works := 0
	var all []Finding
	for _, t := range f.Trials {
		switch {
		case t.Err == nil:
			works++
			all = append(all, Finding{ID: IDBackend, Severity: OK, Found: "backend " + t.Backend + " works: a profile was installed in an empty network namespace"})
		case t.Backend == used:
			all = append(all, Finding{IDBackend, Broken, fmt.Sprintf("backend %s does not work: %v", t.Backend, t.Err),
				"it is the backend in use: the next change of the rules fails",
				"install what is missing, or set backend in knockd.toml to the other one if that works"})
		default:
			all = append(all, Finding{IDBackend, Note, fmt.Sprintf("backend %s does not work: %v", t.Backend, t.Err), "it is not the backend in use", ""})
		}
	}
	if len(f.Trials) > 0 && works == 0 && (used == "auto" || used == "") {
		all = append(all, Finding{IDBackend, Broken, "no backend works", "nothing can be gated on this host", "install iptables or nftables, and a kernel that has them"})
	}
	return all
}

// installed compares the files with the kernel.
func installed(f *Facts) []Finding {
	var all []Finding
	n := 0
	for _, p := range f.Status.Profiles {
		name := p.Profile.Name
		switch p.State {
		case server.StateInstalled:
			n++
		case server.StateChanged:
			n++
			all = append(all, Finding{IDInstalled, Warning, "profile " + name + " was edited since it was installed",
				"the kernel works by the old version", "knockd install " + name})
		case server.StateNotInstalled:
			all = append(all, Finding{IDInstalled, Warning, "profile " + name + " is enabled and not installed",
				"the ports that it opens are not gated", "knockd install " + name})
		case server.StateNoFile:
			n++
			all = append(all, Finding{IDInstalled, Note, "profile " + name + " is installed and has no file",
				"it is gone after the next boot", "put the file back, or knockd remove " + name})
		}
	}
	unknown := slices.ContainsFunc(f.Unseen, func(u Unseen) bool { return u.What == whatInstalled })
	switch {
	case len(all) == 0 && n == 0 && !unknown:
		all = append(all, Finding{IDInstalled, Note, "no profile is installed, and none is enabled", "nothing is gated",
			"knockd profile new NAME, then knockd install NAME"})
	case n > 0:
		all = append(all, Finding{ID: IDInstalled, Severity: OK, Found: fmt.Sprintf("profiles installed with %s: %d", f.Status.Backend, n)})
	}
	return all
}

func drift(f *Facts) []Finding {
	var all []Finding
	for _, d := range f.Status.Drift {
		all = append(all, Finding{IDDrift, Broken, d, "another tool has changed the rules: gates may be open, or closed for good",
			"knockd install (every enabled profile); then find the tool, and let it start before knockd"})
	}
	if len(all) == 0 && f.holds() {
		all = append(all, Finding{ID: IDDrift, Severity: OK, Found: "the rules are those that were committed"})
	}
	return all
}

func foreignJumps(f *Facts) []Finding {
	var all []Finding
	for _, rule := range f.Status.Foreign {
		all = append(all, Finding{IDForeignJump, Warning, "a rule that is not ours leads into our chains: " + rule,
			"it is another way to progress through a sequence", "delete it unless it is meant"})
	}
	return all
}

// flavours: both are asked for every packet, and a drop in one is final.
func flavours(f *Facts) []Finding {
	if len(f.Flavours) < 2 {
		return nil
	}
	return []Finding{{IDFlavours, Warning, strings.Join(f.Flavours, " and ") + " both have rules",
		"a packet passes both: what one accepts the other may still drop, and `iptables -L` shows only one of them",
		"keep one: see update-alternatives --display iptables, then move the rules (iptables-legacy-save, iptables-nft-restore) and flush the other"}}
}
