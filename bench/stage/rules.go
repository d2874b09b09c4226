//go:build linux

package stage

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"knockkit/internal/lab"
	"knockkit/protocol"
	"knockkit/protocol/format"
)

// Rules is a set of rules to compare.
type Rules struct {
	Name     string
	Profiles bool // whether the rules grow with the profiles
	IPv6     bool // whether they are for IPv6 too
	Most     int  // with how many profiles they are still measured

	// Apply installs the rules on a host that has none.
	Apply func(ctx context.Context, h *lab.Host, profiles []*protocol.Profile) error

	refresh func(ctx context.Context, h *lab.Host) error // before each burst; nil: nothing to do
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

	SignedRules = "ours, signed" // with nftables
)

// AllRules lists what is compared. All but the first drop what they do not want, so
// that no answer of the host is in what a packet costs.
func AllRules() []Rules {
	return []Rules{
		{Name: NoRules, Apply: func(context.Context, *lab.Host, []*protocol.Profile) error { return nil }},
		{Name: DropRule, Apply: func(ctx context.Context, h *lab.Host, _ []*protocol.Profile) error {
			return Run(ctx, h, "", "iptables", "-A", "INPUT", "-j", "DROP")
		}},
		{Name: Stateful, Apply: func(ctx context.Context, h *lab.Host, _ []*protocol.Profile) error {
			if err := Run(ctx, h, "", "iptables", "-A", "INPUT", "-m", "conntrack", "--ctstate", "ESTABLISHED,RELATED", "-j", "ACCEPT"); err != nil {
				return err
			}
			return dropByDefault(ctx, h)
		}},
		{Name: Article, Profiles: true, Most: 100, Apply: func(ctx context.Context, h *lab.Host, profiles []*protocol.Profile) error {
			return Run(ctx, h, articleRules(profiles), "iptables-restore", "--noflush")
		}},
		{Name: IPTables, Profiles: true, IPv6: true, Most: 1000, Apply: func(ctx context.Context, h *lab.Host, profiles []*protocol.Profile) error {
			return ApplyOurs(ctx, h, "iptables", profiles)
		}},
		{Name: NFTables, Profiles: true, IPv6: true, Most: 1000, Apply: func(ctx context.Context, h *lab.Host, profiles []*protocol.Profile) error {
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

// articleRules are the rules of the article as they stand there, once for each
// profile: three knocks and a port, a chain and a recency table for each state, and
// its `--remove` line, which every packet passes. The article's first knock is a
// ping; here it is a SYN like the others. What is right is accepted, as there.
func articleRules(profiles []*protocol.Profile) string {
	var b strings.Builder
	b.WriteString("*filter\n:INPUT DROP [0:0]\n")
	for _, p := range profiles {
		fmt.Fprintf(&b, ":ADD_ECHO_%s - [0:0]\n:ADD_BACKEND_%s - [0:0]\n", p.Name, p.Name)
	}
	for _, p := range profiles {
		fill := strings.NewReplacer(
			"PROFILE", p.Name,
			"FIRST", portText(p.Sequence[0].Knock.Port),
			"SECOND", portText(p.Sequence[1].Knock.Port),
			"THIRD", portText(p.Sequence[2].Knock.Port),
			"OPENED", portText(p.Open[0].First))
		b.WriteString(fill.Replace(`-A INPUT -p tcp --dport FIRST -m recent --name seenping_PROFILE --set -j ACCEPT
-A INPUT -p tcp --dport SECOND -m recent --name seenping_PROFILE --rcheck -j ADD_ECHO_PROFILE
-A ADD_ECHO_PROFILE -m recent --name seenecho_PROFILE --set -j ACCEPT
-A INPUT -p tcp --dport THIRD -m recent --name seenecho_PROFILE --rcheck --seconds 10 -j ADD_BACKEND_PROFILE
-A INPUT -m recent --name seenecho_PROFILE --remove
-A ADD_BACKEND_PROFILE -m recent --name seenbackend_PROFILE --set -j ACCEPT
-A INPUT -p tcp --dport OPENED -m recent --name seenbackend_PROFILE --rcheck -j ACCEPT
`))
	}
	b.WriteString("COMMIT\n")
	return b.String()
}

func portText(port uint16) string { return strconv.Itoa(int(port)) }

// Profiles returns n profiles, the same ones on every call: sequences of three TCP
// ports from 10000 up, each used once, and one opened port each from 1024 up. So
// none shares a position with another, as with sequences drawn at random.
// n is at most 8,000.
func Profiles(n int, within time.Duration) ([]*protocol.Profile, error) {
	ports := rand.New(rand.NewPCG(1, 2)).Perm(50_000)
	profiles := make([]*protocol.Profile, n)
	for i := range profiles {
		name := fmt.Sprintf("p%04d", i)
		text := fmt.Sprintf("sequence = [\"%d/tcp\", \"%d/tcp\", \"%d/tcp\"]\nwithin = \"%s\"\nopen = [\"%d/tcp\"]\n",
			10_000+ports[3*i], 10_000+ports[3*i+1], 10_000+ports[3*i+2], protocol.FormatDuration(within), 1024+i)
		p, diagnostics := format.ParseProfile(name+".toml", []byte(text))
		if diagnostics.HasErrors() {
			return nil, diagnostics
		}
		profiles[i] = p
	}
	return profiles, nil
}

// Unused is a TCP port that no profile of [Profiles] knocks on or opens.
const Unused = 9_500
