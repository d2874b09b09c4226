package iptables

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"knockkit/protocol"
	"knockkit/protocol/format"
)

// randomInput draws profiles with any of the keys, a policy and leases given by
// hand, for one family. Not every draw can be installed together: false then.
func randomInput(t *testing.T, rnd *rand.Rand, f protocol.Family) (input, bool) {
	t.Helper()
	var profiles []*protocol.Profile
	for i := range 1 + rnd.IntN(6) {
		p := randomProfile(rnd, fmt.Sprintf("%s%d", []string{"p", "a-rather-long-name"}[rnd.IntN(2)], i))
		again, err := format.ParseCanonical(format.Canonical(p))
		if err != nil {
			return input{}, false // it knocks on its own port, or the like
		}
		profiles = append(profiles, again)
	}
	if len(protocol.CheckTogether(profiles)) > 0 {
		return input{}, false
	}
	a, err := protocol.Compile(profiles, f)
	if err != nil || len(a.Profiles) == 0 {
		return input{}, false
	}
	in := input{Automaton: a, Policy: protocol.Policy{Strict: rnd.IntN(3) > 0}}
	if rnd.IntN(3) == 0 {
		in.Policy.Ban = &protocol.Ban{After: 1 + rnd.IntN(protocol.MaxBanAfter), For: time.Duration(1+rnd.IntN(9999)) * time.Second}
	}
	if p := a.Profiles[0]; rnd.IntN(2) == 0 {
		in.Grants = append(in.Grants, randomGrant(rnd, p, f))
	}
	return in, true
}

func randomGrant(rnd *rand.Rand, p *protocol.Profile, f protocol.Family) grant {
	addr := netip.AddrFrom4([4]byte{10, 9, byte(rnd.IntN(256)), byte(rnd.IntN(256))})
	if f == protocol.IPv6 {
		addr = netip.MustParseAddr(fmt.Sprintf("2001:db8:9:%x::7", rnd.IntN(1<<16)))
	}
	holder, err := addr.Prefix(p.Prefix(f))
	if err != nil {
		panic(err) // the profile is valid
	}
	return grant{Profile: p.Name, Holder: holder, Until: time.Unix(1893553445+rnd.Int64N(1e6), 0).UTC()}
}

func randomProfile(rnd *rand.Rand, name string) *protocol.Profile {
	often := func(n int) bool { return rnd.IntN(n) == 0 }
	p := &protocol.Profile{Name: name, Enabled: true, Lease: time.Hour, PrefixIPv4: 32, PrefixIPv6: 128,
		Renew: often(4), Cut: often(4)}
	letters := []protocol.Knock{{Proto: protocol.ICMP}, {Proto: protocol.TCP, Port: 7}, {Proto: protocol.TCP, Port: 8000},
		{Proto: protocol.UDP, Port: 53}, {Proto: protocol.TCP, Port: uint16(10000 + rnd.IntN(50000))}}
	for n := 1 + rnd.IntN(4); len(p.Sequence) < n; {
		k := letters[rnd.IntN(len(letters))]
		switch last := len(p.Sequence) - 1; {
		case last < 0:
			p.Sequence = append(p.Sequence, protocol.Step{Knock: k})
		case p.Sequence[last].Knock != k:
			p.Sequence = append(p.Sequence, protocol.Step{Knock: k, Within: protocol.DefaultWithin})
		}
	}
	for i := range 1 + rnd.IntN(3) {
		first := uint16(1000 + 1000*i + rnd.IntN(400))
		p.Open = append(p.Open, protocol.PortRange{Proto: []protocol.Proto{protocol.TCP, protocol.UDP}[rnd.IntN(2)],
			First: first, Last: first + uint16(rnd.IntN(2)*rnd.IntN(300))})
	}
	p.Once = !p.Renew && often(4)
	if often(3) {
		p.Lease = time.Duration(rnd.IntN(100)) * time.Minute
	}
	if often(3) {
		p.Close = &protocol.Knock{Proto: protocol.TCP, Port: uint16(9000 + rnd.IntN(100))}
	}
	if often(4) {
		p.PrefixIPv4, p.PrefixIPv6 = 8+rnd.IntN(25), 32+rnd.IntN(97)
	}
	p.Family = []protocol.Family{protocol.Both, protocol.Both, protocol.IPv4, protocol.IPv6}[rnd.IntN(4)]
	if often(4) {
		p.From = []netip.Prefix{netip.MustParsePrefix("10.9.0.0/16"), netip.MustParsePrefix("2001:db8::/32")}
	}
	if often(8) {
		p.To = []netip.Prefix{netip.MustParsePrefix("198.51.100.1/32"), netip.MustParsePrefix("2001:db8::1/128")}
	}
	if often(8) {
		p.Interface = "tun1"
	}
	if often(3) {
		p.Reply = protocol.Reply(rnd.IntN(4))
	}
	p.Closed = protocol.Closed(rnd.IntN(3))
	p.Place = protocol.Place(rnd.IntN(2))
	return p
}

// eachRandom calls f with n inputs that can be installed, and their numbers.
func eachRandom(t *testing.T, f protocol.Family, n int, do func(seed uint64, in input)) {
	t.Helper()
	found := 0
	for seed := range uint64(100 * n) {
		if in, ok := randomInput(t, rand.New(rand.NewPCG(seed, uint64(f))), f); ok {
			do(seed, in)
			if found++; found == n {
				return
			}
		}
	}
	t.Fatalf("only %d of %d inputs", found, n)
}
