package nftables

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"knockkit/protocol"
	"knockkit/server/backend"
)

// Backend is the nftables of the host.
type Backend struct {
	hold []*os.File
}

// New returns the backend. It touches nothing.
func New() *Backend { return &Backend{} }

// Name returns "nftables".
func (*Backend) Name() string { return "nftables" }

// Hold makes every tool that the backend starts keep these files open. A lock that goes
// with an open file is then held until the tool has ended, also when we are killed.
func (b *Backend) Hold(files ...*os.File) { b.hold = files }

// command is how a text is committed.
const command = "nft -f -"

// installedOrNone reads what is installed. When somebody changed the record, what is wanted
// is still known; what is lost is which number meant which position, so no number may be
// used again, and what leases were for.
func installedOrNone(was *Listing) *Installed {
	about, err := ReadAbout(was)
	if err != nil {
		return &Installed{Next: highest(was) + 1, Given: givenSets(was)}
	}
	return about
}

// plan returns the transactions that make want of what is there.
func plan(was *Listing, want backend.Want) []string {
	about := installedOrNone(was)
	v := versions(was, about, want)
	leases, given := carried(want, v)
	maps.Copy(given, held(was, about.Given))
	rules := Render(Input{Want: want, Known: about.Known, Next: about.Next, Given: given, Versions: v})
	return transactions(was, rules, slices.Concat(endless(was, rules), rewriteLeases(was, about.Profiles, want, v), leases))
}

// endless returns the commands that empty a map of positions in which an older version of
// us left some without an end.
func endless(was *Listing, want *Ruleset) []string {
	var commands []string
	for _, s := range want.Sets {
		old := was.Set(s.Name)
		if strings.HasPrefix(s.Name, "position") && old != nil && slices.ContainsFunc(old.Elements, func(e Element) bool { return e.Timeout == 0 }) {
			commands = append(commands, fmt.Sprintf("flush map inet %s %s", TableName, s.Name))
		}
	}
	return commands
}

// held returns the sets that hold anybody.
func held(l *Listing, sets map[string]bool) map[string]bool {
	some := map[string]bool{}
	for name := range sets {
		if s := l.Set(name); s != nil && len(s.Elements) > 0 {
			some[name] = true
		}
	}
	return some
}

// highest returns the highest number of a position that any source is in.
func highest(l *Listing) Number {
	top := Number(0)
	for _, s := range l.Sets {
		for _, e := range s.Elements {
			if n, err := parseNumber(e.Data); err == nil {
				top = max(top, n)
			}
		}
	}
	for _, n := range positionsOf(l) {
		top = max(top, n)
	}
	return top
}

// Render returns the text that Commit would feed to nft.
func (b *Backend) Render(ctx context.Context, want backend.Want) ([]backend.Text, error) {
	was, err := b.list(ctx)
	if errors.Is(err, backend.ErrPrivilege) || errors.Is(err, backend.ErrUnsupported) {
		// Who may not look can still be shown what a clean host would get.
		was, err = &Listing{}, nil
	}
	if err != nil {
		return nil, err
	}
	var texts []backend.Text
	for _, text := range plan(was, want) {
		texts = append(texts, backend.Text{Family: protocol.Both, Tool: command, Text: text})
	}
	return texts, nil
}

// Commit makes want what is installed, in one transaction ([transactions] says when not).
func (b *Backend) Commit(ctx context.Context, want backend.Want) error {
	if err := b.capable(ctx, want); err != nil {
		return err
	}
	return b.change(ctx, func(was *Listing) ([]string, error) { return plan(was, want), nil })
}

// tries is how often a commit is planned when leases end behind the plan's back.
const tries = 5

// change commits what is planned for the table that is there, and plans again when the
// kernel refuses because a lease has ended meanwhile ([rewrite]).
func (b *Backend) change(ctx context.Context, plan func(was *Listing) ([]string, error)) error {
	for try := 1; ; try++ {
		was, err := b.list(ctx)
		if err != nil {
			return err
		}
		texts, err := plan(was)
		if err != nil {
			return err
		}
		err = b.commit(ctx, texts)
		tool := new(backend.ToolError)
		if try == tries || !errors.As(err, &tool) || !strings.HasPrefix(tool.Line, "delete element inet "+TableName+" open") {
			return err
		}
	}
}

// commit feeds transactions one after the other. When one of several fails, the last
// undoes what the first did.
func (b *Backend) commit(ctx context.Context, texts []string) error {
	for _, text := range texts {
		err := b.feed(ctx, text)
		if err != nil && len(texts) > 1 {
			err = errors.Join(err, b.feed(context.WithoutCancel(ctx), texts[len(texts)-1]))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *Backend) feed(ctx context.Context, text string) error {
	if text == "" {
		return nil
	}
	_, err := b.run(ctx, text, "-f", "-")
	return err
}

// Installed reads what the kernel says is installed.
func (b *Backend) Installed(ctx context.Context) (backend.Installed, error) {
	l, err := b.list(ctx)
	if err != nil || !l.Exists {
		return backend.Installed{}, err
	}
	about, err := ReadAbout(l)
	if err != nil {
		return backend.Installed{Unread: err, Drift: []string{err.Error()}}, nil
	}
	in := backend.Installed{Profiles: about.Profiles, Policy: about.Policy, Drift: drift(l, about)}
	if len(in.Profiles) > 0 {
		in.Families = protocol.Families()
	}
	return in, nil
}

// Grant gives a lease now, for the profile's own time (d = 0) or for d. The holder has
// the profile's prefix length, or is a wider prefix. One for a time of its own, or for a wider
// prefix, is in a set of its own: the next knock would change its end.
func (b *Backend) Grant(ctx context.Context, p *protocol.Profile, holder netip.Prefix, d time.Duration) error {
	was, err := b.list(ctx)
	if err != nil {
		return err
	}
	about, err := ReadAbout(was)
	if err != nil {
		return err
	}
	f, addr := protocol.FamilyOf(holder.Addr()), holder.Addr().String()
	own, byHand := about.Versions.lease(p, f), about.Versions.given(p, f, holder.Bits())
	set := own
	if holder.Bits() < p.Prefix(f) || d != 0 && d != p.Lease && !p.Once {
		set = byHand
	}
	if d == 0 {
		d = p.Lease
	}
	commands := was.forget(byHand, addr)
	if holder.Bits() == p.Prefix(f) {
		commands = append(commands, was.forget(own, addr)...)
	}
	commands = append(commands, element("add", set, addr+timeout(d)))
	if was.Set(set) != nil {
		return b.feed(ctx, lines(commands))
	}
	want, err := backend.Compile(about.Profiles, about.Policy)
	if err != nil {
		return err
	}
	about.Given[set] = true
	return b.commit(ctx, transactions(was, Render(about.input(want)), commands))
}

// element is a command for one element of a set.
func element(verb, set, text string) string {
	return fmt.Sprintf("%s element inet %s %s { %s }", verb, TableName, set, text)
}

// forget deletes an element that may not be there: deleting what is not is an error.
func (l *Listing) forget(set, addr string) []string {
	if l.Set(set) == nil {
		return nil
	}
	return []string{element("add", set, addr), element("delete", set, addr)}
}

func lines(all []string) string {
	if len(all) == 0 {
		return ""
	}
	return strings.Join(all, "\n") + "\n"
}

// Revoke ends the leases of the holders that which picks. It returns their holders, and
// those of the profile's leases that go on.
func (b *Backend) Revoke(ctx context.Context, p *protocol.Profile, which func(holder netip.Prefix) bool) (ended, left []netip.Prefix, err error) {
	l, err := b.list(ctx)
	if err != nil {
		return nil, nil, err
	}
	var commands []string
	sets, seen := leaseSets(l), map[netip.Prefix]bool{}
	for _, f := range protocol.Families() {
		for _, set := range sets[holders(p, f)] {
			for _, e := range l.Set(set.String()).Elements {
				addr, err := netip.ParseAddr(e.Key)
				if err != nil {
					return nil, nil, fmt.Errorf("%s: %w", set, err)
				}
				holder, to := netip.PrefixFrom(addr, set.bits), &left
				if which(holder) {
					commands, to = append(commands, l.forget(set.String(), e.Key)...), &ended
				}
				if !seen[holder] { // who has two has one
					seen[holder] = true
					*to = append(*to, holder)
				}
			}
		}
	}
	return ended, left, b.feed(ctx, lines(commands))
}

// Unban lifts the bans of the sources that which picks, and forgets their falls. It
// returns those that were banned.
func (b *Backend) Unban(ctx context.Context, which func(netip.Addr) bool) (lifted []netip.Addr, err error) {
	l, err := b.list(ctx)
	if err != nil {
		return nil, err
	}
	var commands []string
	for _, f := range protocol.Families() {
		for _, s := range l.Sets {
			banned := s.Name == "banned"+digit(f)
			if !banned && !strings.HasPrefix(s.Name, "fall"+digit(f)+".") {
				continue
			}
			for _, e := range s.Elements {
				addr, err := netip.ParseAddr(e.Key)
				if err != nil {
					return nil, fmt.Errorf("%s: %w", s.Name, err)
				}
				if !which(addr) {
					continue
				}
				commands = append(commands, l.forget(s.Name, e.Key)...)
				if banned {
					lifted = append(lifted, addr)
				}
			}
		}
	}
	return lifted, b.feed(ctx, lines(commands))
}
