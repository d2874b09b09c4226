//go:build linux

package stage

import (
	"context"

	"knockkit/internal/lab"
	"knockkit/protocol"
)

// Rules is a set of rules to compare.
type Rules struct {
	Name     string
	Profiles bool // whether the rules grow with the profiles
	IPv6     bool // whether they are for IPv6 too
	Most     int  // with how many profiles they are still measured
	apply    func(ctx context.Context, h *lab.Host, profiles []*protocol.Profile) error
	refresh  func(ctx context.Context, h *lab.Host) error // before each burst; nil: nothing to do
}

// Apply installs the rules on a host that has none.
func (r Rules) Apply(ctx context.Context, h *lab.Host, profiles []*protocol.Profile) error {
	return r.apply(ctx, h, profiles)
}

// Refresh makes room for first knocks where they would fill a table.
func (r Rules) Refresh(ctx context.Context, h *lab.Host) error {
	if r.refresh == nil {
		return nil
	}
	return r.refresh(ctx, h)
}

// The names of the rules.
const (
	NoRules  = "no rules"
	DropRule = "a drop rule"
	Stateful = "a stateful firewall"
	Article  = "the article's rules"
	IPTables = "ours, iptables"
	NFTables = "ours, nftables"
)

// AllRules lists what is compared. All but the first drop what they do not want, so
// that no answer of the host is in what a packet costs.
func AllRules() []Rules {
	return []Rules{
		{Name: NoRules, apply: func(context.Context, *lab.Host, []*protocol.Profile) error { return nil }},
		{Name: DropRule, apply: func(ctx context.Context, h *lab.Host, _ []*protocol.Profile) error {
			return Run(ctx, h, "", "iptables", "-A", "INPUT", "-j", "DROP")
		}},
		{Name: Stateful, apply: func(ctx context.Context, h *lab.Host, _ []*protocol.Profile) error {
			if err := Run(ctx, h, "", "iptables", "-A", "INPUT", "-m", "conntrack", "--ctstate", "ESTABLISHED,RELATED", "-j", "ACCEPT"); err != nil {
				return err
			}
			return dropByDefault(ctx, h)
		}},
		{Name: Article, Profiles: true, Most: 100, apply: func(ctx context.Context, h *lab.Host, profiles []*protocol.Profile) error {
			return Run(ctx, h, articleRules(profiles), "iptables-restore", "--noflush")
		}},
		{Name: IPTables, Profiles: true, IPv6: true, Most: 1000, apply: func(ctx context.Context, h *lab.Host, profiles []*protocol.Profile) error {
			return ApplyOurs(ctx, h, "iptables", profiles)
		}},
		{Name: NFTables, Profiles: true, IPv6: true, Most: 1000, apply: func(ctx context.Context, h *lab.Host, profiles []*protocol.Profile) error {
			return ApplyOurs(ctx, h, "nftables", profiles)
		}, refresh: func(ctx context.Context, h *lab.Host) error {
			return Run(ctx, h, "flush map inet knockd position4\nflush map inet knockd position6\n", "nft", "-f", "-")
		}},
	}
}

// ApplyOurs installs profiles with a backend of ours on a host that drops by
// default, as the article's does.
func ApplyOurs(ctx context.Context, h *lab.Host, backend string, profiles []*protocol.Profile) error {
	if err := Install(ctx, h, Ours(backend), profiles); err != nil {
		return err
	}
	if backend == "iptables" {
		return dropByDefault(ctx, h)
	}
	return Run(ctx, h, hostTable(profiles), "nft", "-f", "-")
}

func dropByDefault(ctx context.Context, h *lab.Host) error {
	if err := Run(ctx, h, "", "ip6tables", "-P", "INPUT", "DROP"); err != nil {
		return err
	}
	return Run(ctx, h, "", "iptables", "-P", "INPUT", "DROP")
}

// hostTable is the operator's own table: with nftables, a port that we gate must
// be let through there, and everything else is dropped.
func hostTable(profiles []*protocol.Profile) string {
	text := "table inet host {\n\tset gated {\n\t\ttype inet_service\n\t\telements = {"
	for i, p := range profiles {
		if i > 0 {
			text += ","
		}
		text += " " + portText(p.Open[0].First)
	}
	return text + " }\n\t}\n\tchain input {\n\t\ttype filter hook input priority filter; policy drop;\n\t\ttcp dport @gated accept\n\t}\n}\n"
}
