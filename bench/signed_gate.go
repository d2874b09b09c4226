//go:build linux

package main

import (
	"context"
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"knockkit/bench/stage"
	"knockkit/internal/lab"
	"knockkit/protocol"
)

// signedGate is a host with a signed profile, and a service that loads its tokens.
type signedGate struct {
	host    *lab.Host
	service *stage.Service
}

// carrier is what the tokens come in.
var carrier = stage.Ping

// randomTokens are what strangers send in the carrier.
func randomTokens(_ *protocol.Profile, to netip.Addr) [][]byte {
	return stage.RandomTokens([]protocol.Knock{carrier}, to, stage.Forged)
}

// openSigned opens a profile's port by a signed profile. The profile's own sequence opens another port
// beside, so that first knocks mean something there.
func openSigned(ctx context.Context, c *stage.Cable, p *protocol.Profile) (*running, error) {
	signed, err := stage.Signed("signed", carrier, p.Open[0].First)
	if err != nil {
		return nil, err
	}
	keys := stage.Keys(signed, stage.Visitors)
	gate, err := startSigned(ctx, c.Host, signed, p, keys)
	return &running{visit: stage.Visit{Knocks: stage.TokenKnock(carrier, keys)}, signed: gate}, err
}

// startSigned installs a signed profile, and beside it the sequence of another one.
func startSigned(ctx context.Context, h *lab.Host, signed, p *protocol.Profile, keys []protocol.Key) (*signedGate, error) {
	beside := *p
	beside.Open = []protocol.PortRange{{Proto: p.Open[0].Proto, First: p.Open[0].First + 1, Last: p.Open[0].First + 1}}
	if err := stage.ApplyOurs(ctx, h, "nftables", []*protocol.Profile{signed, &beside}); err != nil {
		return nil, err
	}
	// What arrives is counted before the rules.
	count := fmt.Sprintf("table inet arrived { chain c { type filter hook prerouting priority raw - 10; ip saddr %s icmp type echo-request counter; }\n}\n", stage.VisitorsPrefix())
	if err := stage.Run(ctx, h, count, "nft", "-f", "-"); err != nil {
		return nil, err
	}
	service, err := stage.Serve(ctx, h, keys)
	if err != nil {
		return nil, err
	}
	return &signedGate{h, service}, nil
}

// tokens returns how many tokens of visitors have reached the host, and how many of them the kernel has
// taken.
func (g *signedGate) tokens(ctx context.Context) (arrived, taken int, err error) {
	count, err := g.host.Run(ctx, "", "nft", "list", "table", "inet", "arrived")
	if err != nil {
		return 0, 0, err
	}
	packets := regexp.MustCompile(`packets (\d+)`).FindStringSubmatch(count.Stdout)
	if packets == nil {
		return 0, 0, fmt.Errorf("nothing is counted: %s", strings.TrimSpace(count.Stderr))
	}
	if arrived, err = strconv.Atoi(packets[1]); err != nil {
		return 0, 0, err
	}
	who, err := g.host.Run(ctx, "", "nft", "-j", "list", "set", "inet", "knockd", "who4")
	if err == nil && who.Code != 0 {
		err = fmt.Errorf("nft: %s", strings.TrimSpace(who.Stderr))
	}
	return arrived, strings.Count(who.Stdout, `"expires"`), err
}
