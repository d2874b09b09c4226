package nftables

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"knockkit/internal/kernel/backend"
	"knockkit/protocol"
	"knockkit/protocol/format"
)

// kept is what the undo of a trial brings back: leases, bans and falls that the trial takes out, and
// leases to which it gives another time. While it lasts, each set of them has a copy in the kernel
// that no gate asks. There they run out as they would have, and leave it when they are given back or
// used up. So what is in it at the end goes on, with the time that it has left. Who has opened them stays
// where it is.
type kept struct {
	sets     map[string]bool     // by their names
	profiles []*protocol.Profile // of before, whose leases are in them; their close knocks still count
}

// names returns the names of the sets of a family, sorted.
func (k kept) names(f protocol.Family) []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(k.sets)) {
		if parseSetName(name).key == digit(f) {
			names = append(names, name)
		}
	}
	return names
}

// in reports whether leases of a family are kept.
func (k kept) in(f protocol.Family) bool {
	return slices.ContainsFunc(k.names(f), func(name string) bool { return keptOf(name).leases() })
}

// find finds the sets that the trial of the record has kept. A set of leases that are those of none of
// its profiles is somebody else's.
func (k *kept) find(t *table) {
	k.sets = map[string]bool{}
	for name, s := range t.sets {
		if s.is.what == keptPrefix && (!keptOf(name).leases() || protocol.Find(k.profiles, keptOf(name).key[2:]) != nil) {
			k.sets[name] = true
		}
	}
}

// keptOf returns which set a kept one is a copy of.
func keptOf(name string) setName { return parseSetName(name[len(keptPrefix):]) }

// keep returns what a trial of the rules of in has to keep, and the commands that copy the elements.
func (r *reading) keep(in input) (k kept, copies []string) {
	wanted := render(in).byName()
	k.sets = map[string]bool{}
	of := map[string]bool{} // names of profiles
	for _, name := range slices.Sorted(maps.Keys(r.table.sets)) {
		set := r.table.sets[name]
		stays := wanted[setKind+" "+name] != nil && !r.changed(in.want, set.is)
		if stays || len(set.elements) == 0 || set.is.what == keptPrefix {
			continue
		}
		if set.is.leases() {
			if r.about.profile(set.is.key[2:]) == nil {
				continue // somebody else's
			}
			of[set.is.key[2:]] = true
		}
		k.sets[keptPrefix+name] = true
		if r.table.sets[keptPrefix+name] != nil { // of a trial that was confirmed
			copies = append(copies, objectCommand("flush", setKind, keptPrefix+name))
		}
		copies = append(copies, copyTo(keptPrefix+name, set.elements)...)
	}
	for _, p := range r.about.profiles {
		if of[p.Name] {
			k.profiles = append(k.profiles, p)
		}
	}
	return k, copies
}

// changed reports whether the leases in a set that stays get another time, or are no leases of the
// rules of today any more once the wanted ones have been there.
func (r *reading) changed(want backend.Want, s setName) bool {
	if !s.leases() {
		return false
	}
	was := r.about.profile(s.key[2:])
	for _, f := range protocol.Families() {
		if p := protocol.Find(want.Of(f).Profiles, s.key[2:]); p != nil && was != nil && digit(f) == s.key[:1] {
			return s.what == opened && newTime(was, p) || backend.LeasesEnd(p, was, f) != ""
		}
	}
	return false
}

// copyTo returns the commands that put elements into a set, but for those that are about to end.
func copyTo(set string, elements []element) (all []string) {
	for _, e := range elements {
		if e.Timeout == 0 || e.Expires >= time.Second {
			all = append(all, elementCommand("add", set, e.Address.String()+times(e.Timeout, e.Expires)))
		}
	}
	return all
}

// removeKept returns the statements that take a packet's source out of the kept leases of a profile.
// The lease of a wider prefix has other holders too.
func (r *renderer) removeKept(p *protocol.Profile, f protocol.Family) (all []string) {
	was := protocol.Find(r.kept.profiles, p.Name)
	if was == nil {
		return nil
	}
	for _, name := range r.kept.names(f) {
		if is := keptOf(name); is.leases() && is.key == leaseKey(p, f) && is.bits == was.Prefix(f) {
			all = append(all, remove(name, keyOf(is.bits, f)))
		}
	}
	return all
}

// saved is what can be put back beside what the kernel keeps: the record. Positions stay in the
// kernel as long as any profile of their family does.
type saved struct {
	Profiles []string // in their canonical form
	Settings settings
	Known    map[string]number
}

// Save returns the record as one line of JSON. Errors: why it cannot be read.
func (r *reading) Save() (string, error) {
	if r.unread != nil {
		return "", fmt.Errorf("what is installed could not be put back: %w", r.unread)
	}
	s := saved{Settings: settings{backend.RecordPolicy(r.about.policy), r.about.next, r.about.trials, r.about.signedNumbers, r.about.nextSigned}, Known: r.about.known}
	for _, p := range r.about.profiles {
		s.Profiles = append(s.Profiles, format.Canonical(p))
	}
	return backend.JSON(s), nil
}

// PutBack installs the profiles and settings of an earlier Save, by a commit like any other: gates
// that both have stay shut meanwhile, positions and leases are kept. What the kernel has kept for it
// comes back, without what commands have ended since: only what the trial after that Save has kept.
// Copies of an earlier trial, which was confirmed, have leases that were ended since. Where the record
// is as it was saved, the trial never came about, and there is nothing to do.
func (r *reading) PutBack(text string, ended []backend.Ended) (backend.Plan, error) {
	var then saved
	if err := json.Unmarshal([]byte(text), &then); err != nil {
		return nil, fmt.Errorf("what was saved: %w", err)
	}
	if is, err := r.Save(); err == nil && is == text && len(r.drift) == 0 {
		return &plan{}, nil
	}
	var profiles []*protocol.Profile
	for _, line := range then.Profiles {
		p, err := format.ParseCanonical(line)
		if err != nil {
			return nil, fmt.Errorf("what was saved: %w", err)
		}
		profiles = append(profiles, p)
	}
	want, err := backend.Compile(profiles, then.Settings.Policy())
	if err != nil {
		return nil, err
	}
	known := map[string]number{} // both: no number has meant two positions
	maps.Copy(known, then.Known)
	maps.Copy(known, r.about.known)
	v := r.versions(want)
	in := input{want: want, known: known, next: max(then.Settings.Next, r.about.next), given: r.givenInUse(), versions: v, trials: then.Settings.Trials}
	in.signedNumbers, in.nextSigned = map[string]uint16{}, max(then.Settings.NextSigned, r.about.nextSigned)
	maps.Copy(in.signedNumbers, then.Settings.Signed)
	maps.Copy(in.signedNumbers, r.about.signedNumbers)
	elements := append(r.rewriteLeases(want, v, true), r.keepParts(want, v, true)...)
	if r.about.trials == then.Settings.Trials+1 {
		elements = append(elements, r.bringBack(in, ended)...)
	}
	p := r.replace(in, elements)
	p.again = func(r *reading) (backend.Plan, error) { return r.PutBack(text, ended) }
	return p, nil
}

// bringBack returns the commands that bring kept elements back into the sets of the rules that in
// gives, and adds to in the sets of leases given by hand that they need.
func (r *reading) bringBack(in input, ended []backend.Ended) (all []string) {
	names := slices.Sorted(maps.Keys(r.about.kept.sets))
	for _, name := range names {
		if keptOf(name).what == given {
			in.given[in.versions.rename(name[len(keptPrefix):])] = true
		}
	}
	wanted := render(in).byName()
	for _, name := range names {
		if set := in.versions.rename(name[len(keptPrefix):]); wanted[setKind+" "+set] != nil {
			all = append(all, copyTo(set, r.missing(name, set, ended))...)
		}
	}
	return all
}

// missing returns the kept elements that the set where they belong does not have, or has without end
// because the trial has taken it away, and that no command has ended.
func (r *reading) missing(kept, set string, ended []backend.Ended) []element {
	is, there := keptOf(kept), map[netip.Addr]element{}
	if s := r.table.sets[set]; s != nil {
		for _, e := range s.elements {
			there[e.Address] = e
		}
	}
	profile := "" // of a ban
	if is.leases() {
		profile = is.key[2:]
	}
	return slices.DeleteFunc(slices.Clone(r.table.sets[kept].elements), func(e element) bool {
		has, ok := there[e.Address]
		return ok && (has.Timeout != 0 || e.Timeout == 0) || backend.IsEnded(ended, profile, netip.PrefixFrom(e.Address, is.bits))
	})
}
