package iptables

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"knockkit/internal/kernel/backend"
	"knockkit/internal/kernel/iptables/save"
	"knockkit/protocol"
)

// families returns those of the asked families that the kernel has: a host without IPv6 has nothing
// to gate there.
func families(asked protocol.Family) []protocol.Family {
	return slices.DeleteFunc(protocol.Families(), func(f protocol.Family) bool {
		_, err := os.Stat("/proc/thread-self/net/if_inet6")
		return asked != protocol.Both && f != asked || f == protocol.IPv6 && err != nil
	})
}

// readsAll reports whether a reading has all recency tables, and not only those of one profile's
// leases.
func readsAll(d backend.Depth) bool { return d.Leases && (d.Profile == "" || d.Positions > 0) }

// read reads the kernel. Error: [backend.ErrStale] where somebody has flushed the rules, and
// the tables with them, meanwhile.
func read(ctx context.Context, d backend.Depth, b Backend) (*kernel, error) {
	rules := d.Rules && d.Profile == ""
	k := &kernel{depth: d, now: b.now(), rates: b.rates, recency: map[string][]entry{}}
	var err error
	if k.limit, err = TableLimit(); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
		return nil, err // the root of a user namespace may not read it
	}
	live := map[protocol.Family][]string{} // by family: the recency tables that are there
	var ticks *ticker
	for _, f := range families(d.Family) {
		if live[f], err = tableNames(f); err != nil {
			return nil, err
		}
		if d.Leases && ticks == nil && slices.Contains(live[f], clockOf(f)) {
			ticks = startTicker(f, b.rates)
		}
	}
	if rules {
		err = k.readRules(ctx)
	} else {
		err = k.readRecords(ctx, live)
	}
	if err != nil {
		return nil, err
	}
	for _, m := range k.members {
		if err := k.readTables(m, live[m.family]); err != nil {
			return nil, err
		}
	}
	if ticks != nil && k.ages() {
		k.clock, err = ticks.clock(ctx)
	}
	if rules && d.Positions == 0 && errors.Is(err, backend.ErrPrivilege) {
		// The root of a user namespace can install rules, and cannot tell how old entries are.
		k.recency, err = map[string][]entry{}, nil
	}
	return k, err
}

// readTables reads the recency tables of a family.
func (k *kernel) readTables(m *member, there []string) error {
	var names []string
	for _, t := range m.about.Tables {
		names = append(names, t.name)
	}
	if readsAll(k.depth) { // tables that no rule names any more may have entries too
		names = append(names, there...)
	} else if t := (&tables{d: dialect{m.family}}); k.depth.Leases {
		mine := []string{m.about.Leases[k.depth.Profile], m.about.Shared[k.depth.Profile], t.banned().name, t.fallen().name, t.clock().name}
		names = slices.DeleteFunc(names, func(name string) bool { return !slices.Contains(mine, name) })
	} else {
		return nil
	}
	for _, name := range names {
		if _, done := k.recency[name]; done {
			continue
		}
		entries, err := readTable(name)
		switch {
		case err == nil:
			k.recency[name] = entries
		case !errors.Is(err, fs.ErrNotExist):
			return err
		case name == clockOf(m.family): // a rule of KNOCKD-ABOUT names it
			return backend.ErrStale
		}
	}
	return nil
}

// ages reports whether the age of an entry means anything.
func (k *kernel) ages() bool {
	for name, entries := range k.recency {
		if len(entries) > 0 && name != clockOf(protocol.IPv4) && name != clockOf(protocol.IPv6) {
			return true
		}
	}
	return false
}

// process is a tool that was started.
type process struct {
	wait func() (string, error)
	name string
}

// start starts a tool that only reads. It is started on this thread: a goroutine of its own could be
// in another network namespace.
func start(ctx context.Context, name string, args ...string) process {
	wait, err := host(name).Start(ctx, "", args...)
	if err != nil {
		wait = func() (string, error) { return "", err }
	}
	return process{wait, name}
}

// Saved returns what iptables-save prints of each family and flavour of which the kernel has tables,
// the flavour of the host's commands first; that one is in the result without tables too. The tools
// run side by side. Beside an error is what could be read.
func Saved(ctx context.Context, asked protocol.Family) ([]backend.Saved, error) {
	type saving struct {
		backend.Saved
		process
	}
	var all []*saving
	var failed error
	for _, f := range families(asked) {
		active, err := flavour(ctx, f)
		if err != nil {
			return nil, err
		}
		for _, tool := range []string{active, other(active)} {
			s := &saving{Saved: backend.Saved{Tool: tool, Family: f}}
			has, denied, err := hasTables(ctx, tool, f)
			if err != nil {
				return nil, err
			}
			has = has || denied && tool == active
			name := command(f, strings.TrimPrefix(tool, "iptables")+"-save")
			if tool == active {
				name = command(f, "-save")
			}
			if has {
				s.process = start(ctx, name)
			}
			if has || tool == active {
				all = append(all, s)
			}
		}
	}
	var saved []backend.Saved
	for _, s := range all {
		var err error
		if s.wait != nil {
			s.Tables, err = s.tables()
		}
		if errors.Is(err, backend.ErrUnsupported) && s.Tool != saved[0].Tool {
			continue // the tool of the other flavour is not installed
		}
		saved, failed = append(saved, s.Saved), errors.Join(failed, err)
	}
	return saved, failed
}

// readRules reads all rules of the host, of both flavours.
func (k *kernel) readRules(ctx context.Context) (err error) {
	if k.saved, err = Saved(ctx, k.depth.Family); err != nil {
		return err
	}
	parsed := parsedProfiles{}
	for _, s := range k.saved {
		if i := slices.IndexFunc(k.members, func(m *member) bool { return m.family == s.Family }); i >= 0 {
			k.members[i].mixed = mixed(k.saved[0].Tool, s.Tool, s.Tables)
			continue
		}
		mine := readSaved(s.Family, s.Tables)
		k.members = append(k.members, newMember(s.Family, k.depth, mine.ours.record(), mine, parsed))
	}
	return nil
}

func (p process) tables() ([]save.Table, error) {
	out, err := p.wait()
	if err != nil {
		return nil, err
	}
	tables, err := save.Parse(out)
	if err != nil {
		err = fmt.Errorf("%s: %w", p.name, err)
	}
	return tables, err
}

// mixed returns an error where the other flavour of iptables has rules of ours too: both would use
// the same recency tables, and neither would know of the other.
func mixed(flavour, other string, tables []save.Table) error {
	for _, t := range tables {
		if t.Chain(chainTop) != nil {
			return fmt.Errorf("%s holds rules of knockd already, and the iptables command is now %s: remove them with the other one first "+
				"(%s-restore; see update-alternatives --display iptables)", other, flavour, other)
		}
	}
	return nil
}

// readRecords reads KNOCKD-ABOUT of the families that may have one. Where rules are asked for it
// reads of them what is quick: whether INPUT leads to KNOCKD.
func (k *kernel) readRecords(ctx context.Context, live map[protocol.Family][]string) error {
	type listing struct{ about, input process }
	list := func(f protocol.Family, chain string) process {
		return start(ctx, command(f, ""), "--wait", "-S", chain)
	}
	all := map[protocol.Family]listing{}
	for f, tables := range live {
		if len(tables) == 0 {
			continue
		}
		l := listing{about: list(f, chainAbout)}
		if k.depth.Rules {
			l.input = list(f, bases[0].chain)
		}
		all[f] = l
	}
	var failed error
	parsed := parsedProfiles{}
	for _, f := range families(k.depth.Family) {
		rules, err := all[f].about.rules()
		failed = errors.Join(failed, err)
		m := newMember(f, k.depth, rules, nil, parsed)
		k.members = append(k.members, m)
		if all[f].input.wait != nil {
			input, err := all[f].input.rules()
			failed = errors.Join(failed, err)
			if c := readCalls(chainTop, input); c.first == 0 && len(m.about.Profiles) > 0 {
				m.drifted = append(m.drifted, m.notCalled(bases[0]))
			}
		}
	}
	for _, m := range k.members {
		for _, other := range k.members {
			// Its rules may be there, and let in holders that nobody knows.
			if p := other.about.profile(k.depth.Profile); p != nil && p.In(m.family) && m.about.profile(p.Name) == nil && m.unread == nil {
				m.unread = fmt.Errorf("%s: %s does not say any more what is installed of %s: install it again", m.family, chainAbout, p.Name)
			}
		}
	}
	return failed
}

// rules returns what `iptables -S CHAIN` prints: none where there is no such chain.
func (p process) rules() ([]string, error) {
	if p.wait == nil {
		return nil, nil
	}
	out, err := p.wait()
	if refused := new(backend.ToolError); errors.As(err, &refused) && (strings.Contains(refused.Output, "No chain/target/match by that name") ||
		strings.Contains(refused.Output, "is incompatible, use 'nft' tool")) { // so says iptables-nft of such a chain
		return nil, nil
	}
	return save.Rules(out), err
}
