//go:build linux

package stage

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/netip"
	"time"

	"knockkit/internal/lab"
	"knockkit/protocol"
	"knockkit/protocol/format"
	"knockkit/server"
)

// Ping is the carrier of pings.
var Ping = protocol.Knock{Proto: protocol.ICMP}

// firstCarrier is the first UDP port on which tokens come, where each profile has its own.
const firstCarrier = 40_000

// Datagram is the carrier of the signed profile i, where datagrams carry the tokens.
func Datagram(i int) protocol.Knock {
	return protocol.Knock{Proto: protocol.UDP, Port: uint16(firstCarrier + i)}
}

// Signed returns a signed profile. Its leases outlast the benchmark.
func Signed(name string, carrier protocol.Knock, port uint16) (*protocol.Profile, error) {
	text := fmt.Sprintf("signed = { carrier = \"%s\" }\nopen = [\"%d/tcp\"]\nlease = \"1h\"\n", carrier, port)
	p, diagnostics := format.ParseProfile(name+".toml", []byte(text))
	if diagnostics.HasErrors() {
		return nil, diagnostics
	}
	return p, nil
}

// Keys returns n keys of a profile, with other secrets in each run.
func Keys(p *protocol.Profile, n int) []protocol.Key {
	keys := make([]protocol.Key, n)
	for i := range keys {
		keys[i] = protocol.Key{Profile: p.Name, User: fmt.Sprintf("user%d", i), Audience: "db1"}
		_, _ = rand.Read(keys[i].Secret[:]) // never fails
	}
	return keys
}

// IDs returns the IDs of keys.
func IDs(keys []protocol.Key) []string {
	ids := make([]string, len(keys))
	for i := range keys {
		ids[i] = keys[i].ID()
	}
	return ids
}

// Carry returns an IP packet of a carrier.
func Carry(carrier protocol.Knock, from netip.AddrPort, to netip.Addr, payload []byte) []byte {
	if carrier.Proto == protocol.ICMP {
		return lab.Echo(from.Addr(), to, from.Port(), 1, payload)
	}
	return lab.UDP(from, netip.AddrPortFrom(to, carrier.Port), payload)
}

// pingSize is how much payload a ping has by default. That of a token's packet may be as long.
const pingSize = 56

// RandomTokens returns packets of strangers, spread evenly over carriers. Each has bytes of chance where
// a token would be, and is a flow of its own.
func RandomTokens(carriers []protocol.Knock, to netip.Addr, n int) [][]byte {
	packets := make([][]byte, n)
	for i := range packets {
		payload := make([]byte, pingSize)
		_, _ = rand.Read(payload) // never fails
		from := netip.AddrPortFrom(lab.ForgedAddr4(i%Forged), uint16(20_000+i%40_000))
		packets[i] = Carry(carriers[i%len(carriers)], from, to, payload)
	}
	return packets
}

// Service loads tokens at the beginning of each slot, as ours does, until it is stopped.
type Service struct {
	stop context.CancelFunc
	done chan error
}

// Load gives a host's kernel keys that no kernel has had.
func Load(ctx context.Context, h *lab.Host, keys []protocol.Key) error {
	return refresh(ctx, h, keys, IDs(keys))
}

func refresh(ctx context.Context, h *lab.Host, keys []protocol.Key, fresh []string) error {
	return h.Do(func() error {
		_, err := Ours("nftables").RefreshKeys(ctx, server.KeyRefresh{Now: time.Now(), Keys: keys, Fresh: fresh})
		return err
	})
}

// Serve loads keys as [Load] does, and starts a service for them.
func Serve(ctx context.Context, h *lab.Host, keys []protocol.Key) (*Service, error) {
	if err := Load(ctx, h, keys); err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	service := &Service{stop, make(chan error, 1)}
	go func() {
		for {
			if Wait(ctx, time.Until(protocol.SlotStart(protocol.Slot(time.Now())+1))) != nil {
				service.done <- nil
				return
			}
			if err := refresh(ctx, h, keys, nil); err != nil && ctx.Err() == nil {
				service.done <- err
				return
			}
		}
	}()
	return service, nil
}

// Stop ends the service. Its error is why it had ended before.
func (s *Service) Stop() error {
	s.stop()
	return <-s.done
}

// TokenKnock returns the one packet of a signed knock, as a [Visit] sends it: a token of this moment.
// Each visitor has a key of its own, so that tokens are never scarce.
func TokenKnock(carrier protocol.Knock, keys []protocol.Key) func(from, to netip.Addr) ([][]byte, error) {
	return func(from, to netip.Addr) ([][]byte, error) {
		i := int(from.As4()[3] - visitor(0).As4()[3])
		if i >= len(keys) {
			return nil, fmt.Errorf("visitor %d has no key", i)
		}
		token := keys[i].Token(protocol.Slot(time.Now()), 0)
		payload := make([]byte, pingSize)
		copy(payload, token[:])
		return [][]byte{Carry(carrier, netip.AddrPortFrom(from, 50_000), to, payload)}, nil
	}
}

// Visitors is how many visitors a cable has.
const Visitors = visitors

// VisitorsPrefix is where they come from.
func VisitorsPrefix() netip.Prefix { return netip.PrefixFrom(visitor(0), 25) }
