package nftables

import (
	"cmp"
	"encoding/binary"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"knockkit/internal/kernel/backend"
	"knockkit/protocol"
)

// readsUsers reports whether a reading has the elements of a set that says who has opened leases. Keys
// can be many: where nobody has opened one, only a plan needs their numbers.
func (t *table) readsUsers(name string, what extent) bool {
	some := false
	for _, f := range protocol.Families() {
		set := t.sets[whoPrefix+digit(f)]
		if what.depth.Family != protocol.Both && what.depth.Family != f || set == nil || set.count == 0 {
			continue
		}
		some = true
		if set.name == name {
			return what.depth.Leases
		}
	}
	return what.depth.Leases && (some || what.rules || what.depth.Keys) && (name == usersSet || name == formerSet)
}

// addUser reads an element of such a set: the number of a key, with whose it is, or a source with the
// number of the key that has opened.
func (t *table) addUser(set *kernelObject, attrs []byte) {
	key := valueOf(attrs, unix.NFTA_SET_ELEM_KEY, unix.NFTA_DATA_VALUE)
	if len(key) < 4 {
		return
	}
	source, last := key[:len(key)-4], key[len(key)-4:]
	n := number(binary.NativeEndian.Uint32(last))
	if set.name == usersSet || set.name == formerSet {
		if k, ok := parseKeyComment(commentOf(valueOf(attrs, unix.NFTA_SET_ELEM_USERDATA))); ok {
			k.Number, k.Former = uint32(n), set.name == formerSet
			t.keys[n] = k
		}
		return
	}
	if addr, ok := netip.AddrFromSlice(source); ok {
		e := timesOf(attrs)
		e.Address, e.Number = addr, n
		set.who = append(set.who, e)
	}
}

// leaseID is a lease by its profile and holder.
type leaseID struct {
	profile string
	holder  netip.Prefix
}

// part is what one key has opened of a lease: an element of who4 or who6.
type part struct {
	set  string
	user string
	key  string // its ID
	element
}

// text is the element's key, as nft reads it.
func (x part) text() string { return x.Address.String() + " . " + x.Number.String() }

// left is how long the part lasts. One without an end lasts as long as the lease.
func (x part) left() time.Duration {
	if x.Timeout == 0 {
		return math.MaxInt64
	}
	return x.Expires
}

// is reports whether the part is one of the users'. A user without a key has all keys of that name.
func (x part) is(users []backend.User) bool {
	return slices.ContainsFunc(users, func(u backend.User) bool { return u.Name == x.user && (u.Key == "" || u.Key == x.key) })
}

// parts returns what the keys of installed profiles have opened, of each lease the most recent first.
// Some may be of leases that are over.
func (r *reading) parts() map[leaseID][]part {
	all := map[leaseID][]part{}
	for _, f := range protocol.Families() {
		set := r.table.sets[whoPrefix+digit(f)]
		if set == nil {
			continue
		}
		for _, e := range set.who {
			if h, x, ok := r.partOf(set, e, f); ok {
				all[h] = append(all[h], x)
			}
		}
	}
	for _, parts := range all {
		slices.SortFunc(parts, func(x, y part) int {
			return cmp.Or(-cmp.Compare(x.left(), y.left()), strings.Compare(x.user, y.user), strings.Compare(x.key, y.key), cmp.Compare(x.Number, y.Number))
		})
	}
	return all
}

// partOf returns the part that an element is, and the lease.
func (r *reading) partOf(set *kernelObject, e element, f protocol.Family) (h leaseID, x part, ok bool) {
	k := r.table.keys[e.Number]
	p := r.about.profile(k.Profile)
	if p == nil || e.Number.profileOf() != r.about.signedNumbers[k.Profile] { // that of another profile of that name, before
		return h, x, false
	}
	return leaseID{p.Name, netip.PrefixFrom(e.Address, p.Prefix(f))}, part{set.name, k.User, k.ID, e}, true
}

// Openings implements [backend.Opener].
func (r *reading) Openings(profile string, holder netip.Prefix) (all []backend.Opening) {
	f := protocol.FamilyOf(holder.Addr())
	set := r.table.sets[whoPrefix+digit(f)]
	if set == nil {
		return nil
	}
	for _, e := range set.who { // of thousands: few are asked for
		if e.Address != holder.Addr() {
			continue
		}
		if h, x, ok := r.partOf(set, e, f); ok && h == (leaseID{profile, holder}) {
			all = append(all, backend.Opening{User: x.user, Key: x.key, Ago: e.Timeout - e.Expires, Undated: e.Timeout == 0})
		}
	}
	slices.SortFunc(all, func(x, y backend.Opening) int {
		return cmp.Or(cmp.Compare(x.Ago, y.Ago), strings.Compare(x.User, y.User))
	})
	return all
}

// leaseIDs returns the leases of parts in an order, so that a plan has one.
func leaseIDs(parts map[leaseID][]part) []leaseID {
	return slices.SortedFunc(maps.Keys(parts), func(x, y leaseID) int {
		return cmp.Or(strings.Compare(x.profile, y.profile), x.holder.Addr().Compare(y.holder.Addr()))
	})
}

// usersOf returns the users of a lease. A lease of `once` has the last one only: the first connection
// uses it up, whoever makes it.
func usersOf(parts []part, lease backend.Source, once bool) (users []backend.User) {
	for _, x := range parts {
		u := backend.User{Name: x.user, Key: x.key, Left: lease.Left, Unlimited: lease.Unlimited}
		if left := x.left().Truncate(time.Second); x.Timeout != 0 && (lease.Unlimited || left < lease.Left) {
			u.Left, u.Unlimited = left, false
		}
		if x.is(users) { // a key may have two numbers
			continue
		}
		if users = append(users, u); once {
			break
		}
	}
	return users
}

// endParts ends what users have opened of a lease, or of all leases of the profile where the source
// has no address. The lease ends with its last part, or gets the time that the longest of the others
// has left. So do leases that a trial keeps. A lease given by hand for a time of its own stays.
func (r *reading) endParts(s backend.Source, gone, come map[string][]string) {
	all := r.parts()
	for _, h := range leaseIDs(all) {
		parts := all[h]
		if h.profile != s.Profile || s.Address.IsValid() && h.holder != s.Address {
			continue
		}
		others := slices.DeleteFunc(slices.Clone(parts), func(x part) bool { return x.is(s.Users) })
		if len(others) == len(parts) {
			continue
		}
		p := r.about.profile(h.profile)
		if p.Once && parts[0].is(s.Users) { // the lease is its alone
			others = nil
		}
		for _, x := range parts {
			if x.is(s.Users) || others == nil {
				gone[x.set] = append(gone[x.set], x.text())
			}
		}
		addr := h.holder.Addr().String()
		for name, e := range r.openedBy(h) {
			switch {
			case len(others) == 0:
				gone[name] = append(gone[name], addr)
			case e.Timeout != 0 && others[0].left() < e.Expires:
				gone[name] = append(gone[name], addr)
				come[name] = append(come[name], addr+times(e.Timeout, max(others[0].left(), time.Millisecond)))
			}
		}
	}
}

// openedBy returns the elements of a lease that knocks have given, by set: with those that a trial
// keeps.
func (r *reading) openedBy(h leaseID) map[string]element {
	all := map[string]element{}
	for name, set := range r.table.sets {
		is := set.is
		if is.what == keptPrefix {
			is = keptOf(name)
		}
		if is.what != opened || is.key != digit(protocol.FamilyOf(h.holder.Addr()))+"-"+h.profile || is.bits != h.holder.Bits() {
			continue
		}
		if i := slices.IndexFunc(set.elements, func(e element) bool { return e.Address == h.holder.Addr() }); i >= 0 {
			all[name] = set.elements[i]
		}
	}
	return all
}

// Forget takes out who has opened leases that are over, by an earlier reading too: in this one a lease
// may be there only since its set was read.
func (r *reading) Forget(before backend.Planner) (backend.Plan, error) {
	were := map[string]bool{}
	if b, ok := before.(*reading); ok {
		for _, command := range b.forgotten() {
			were[command] = true
		}
	}
	commands := slices.DeleteFunc(r.forgotten(), func(command string) bool { return !were[command] })
	return r.elementsOnly(lines(commands)), nil
}

// forgotten returns the commands that take out who has opened leases that are over, sorted.
func (r *reading) forgotten() (all []string) {
	lasting, kept := map[netip.Addr][]string{}, map[netip.Addr][]string{} // profiles whose leases an address has
	for _, set := range r.table.sets {
		is, of := set.is, lasting
		if is.what == keptPrefix {
			is, of = keptOf(set.name), kept
		}
		for _, e := range set.elements {
			if is.what == opened {
				of[e.Address] = append(of[e.Address], is.key[2:])
			}
		}
	}
	first := map[element]bool{} // the parts of `once` that count
	for _, x := range r.parts() {
		first[x[0].element] = true
	}
	for _, f := range protocol.Families() {
		name := whoPrefix + digit(f)
		set := r.table.sets[name]
		if set == nil {
			continue
		}
		for _, e := range set.who {
			k := r.table.keys[e.Number]
			live := slices.Contains(lasting[e.Address], k.Profile) && e.Number.profileOf() == r.about.signedNumbers[k.Profile]
			if p := r.about.profile(k.Profile); p != nil && p.Once {
				live = live && first[e]
			}
			live = live || slices.Contains(kept[e.Address], k.Profile) // the undo of a trial gives it back
			if !live {
				text := part{element: e}.text()
				all = append(all, elementCommand("add", name, text), elementCommand("delete", name, text))
			}
		}
	}
	return all
}

// keepParts returns the commands for who has opened the leases of profiles that change: what they have
// opened gets the profile's new time, as the leases do, and is forgotten where those end.
//
// A trial takes nothing away that its undo needs: in it, no part ends or gets a shorter time.
func (r *reading) keepParts(want backend.Want, v versions, undo bool) (all []string) {
	parts := r.parts()
	for _, h := range leaseIDs(parts) {
		f := protocol.FamilyOf(h.holder.Addr())
		old, p := r.about.profile(h.profile), protocol.Find(want.Of(f).Profiles, h.profile)
		if p == nil || p.Signed == nil {
			continue // the number is not used again
		}
		version := r.about.versions[leaseKey(p, f)]
		ends := version != 0 && v[leaseKey(p, f)] != version
		was, will := partTime(old), partTime(p)
		longer := will == 0 || was != 0 && will > was
		if ends && undo || want.Trial && (ends || !longer) || !ends && (was == will || old.Once && p.Once) {
			continue
		}
		for _, x := range parts[h] {
			if !ends && x.Timeout != was {
				continue
			}
			all = append(all, elementCommand("add", x.set, x.text()), elementCommand("delete", x.set, x.text()))
			left := will
			if was > 0 && will > 0 {
				left -= was - x.Expires
			}
			if !ends && (left > 0 || will == 0) {
				all = append(all, elementCommand("add", x.set, x.text()+times(will, left)))
			}
		}
	}
	return all
}

// partTime is the time of what a key opens, 0 for none. With `renew` it ends with the lease.
func partTime(p *protocol.Profile) time.Duration {
	if p.Renew {
		return 0
	}
	return p.Lease
}

// carriedParts returns the commands for who has opened leases that are carried, or given with their users:
// those for which find returns a profile. A key that the kernel does not know gets a number as a former one:
// which keys may open, others say.
func (r *reading) carriedParts(leases []backend.Source, find func(backend.Source) *protocol.Profile, profileNumbers map[string]uint16) []string {
	known, all := slices.Collect(maps.Values(r.table.keys)), []string(nil)
	free := newNumberer(known)
	numberOf := func(k backend.LoadedKey, profile uint16) number {
		i := slices.IndexFunc(known, func(o backend.LoadedKey) bool {
			return o.String() == k.String() && number(o.Number).profileOf() == profile
		})
		if i >= 0 {
			return number(known[i].Number)
		}
		n := free.next(profile)
		if k.Number = uint32(n); n != 0 {
			known = append(known, k)
			all = append(all, elementCommand("add", formerSet, n.String()+` comment "`+keyComment(k)+`"`))
		}
		return n
	}
	for _, s := range leases {
		f, p := protocol.FamilyOf(s.Address.Addr()), find(s)
		if p == nil || p.Signed == nil || s.State != backend.Open || s.Address.Bits() != p.Prefix(f) {
			continue
		}
		for _, u := range s.Users {
			n, lasts := numberOf(backend.LoadedKey{Profile: p.Name, User: u.Name, ID: u.Key}, profileNumbers[p.Name]), ""
			if n == 0 {
				continue
			}
			if whole := partTime(p); whole > 0 && !u.Unlimited {
				left := max(u.Left.Truncate(time.Millisecond), time.Millisecond)
				lasts = times(max(whole, left), left)
			}
			all = append(all, elementCommand("add", whoPrefix+digit(f), s.Address.Addr().String()+" . "+n.String()+lasts))
		}
	}
	return all
}
