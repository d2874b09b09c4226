package server

import (
	"fmt"
	"slices"

	"knockkit/protocol"
	"knockkit/server/backend"
)

// fates says what an install makes of the leases that profiles have whose meaning it
// changes: a sentence for each of them, none where there is nothing to say.
func fates(was, will []*protocol.Profile, sources []backend.Source) []string {
	type pair struct{ was, will *protocol.Profile }
	var changed []pair
	for _, p := range will {
		i := slices.IndexFunc(was, named(p.Name))
		ends := func(f protocol.Family) bool { return backend.Beyond(was[i], p, f) != "" }
		if i >= 0 && (!sameSequence(was[i], p) || slices.ContainsFunc(protocol.Families(), ends)) {
			changed = append(changed, pair{was[i], p})
		}
	}
	if len(changed) == 0 {
		return nil
	}
	backend.Sort(sources)
	sources = backend.Longest(sources)
	var all []string
	for _, c := range changed {
		over, on, why := 0, 0, ""
		for _, l := range sources {
			if l.Profile != c.will.Name || l.State != backend.Open {
				continue
			}
			if beyond := backend.Beyond(c.was, c.will, protocol.FamilyOf(l.Address.Addr())); beyond != "" {
				over, why = over+1, beyond
			} else {
				on++
			}
		}
		if over > 0 {
			all = append(all, fmt.Sprintf("%s: %s over (%s)", c.will.Name, leases(over, "is", "are"), why))
		}
		if on > 0 && !sameSequence(c.was, c.will) {
			all = append(all, fmt.Sprintf("%s: the sequence is another one, and %s on; to end them: knockd revoke %s --all", c.will.Name, leases(on, "goes", "go"), c.will.Name))
		}
	}
	return all
}

func leases(n int, one, several string) string {
	if n == 1 {
		return "1 lease " + one
	}
	return fmt.Sprintf("%d leases %s", n, several)
}

func sameSequence(x, y *protocol.Profile) bool {
	return slices.Equal(x.Path(len(x.Sequence)), y.Path(len(y.Sequence)))
}
