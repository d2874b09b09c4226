package service

import (
	"context"
	"encoding/hex"
	"maps"
	"sync"
	"time"

	"knockkit/protocol"
	"knockkit/server/events"
	"knockkit/server/fleet/ledger"
)

// spentFor is how long a token that was spent somewhere is known: longer than it could open anywhere, by any
// clock of the fleet.
const spentFor = 3 * protocol.SlotTime * (1 + protocol.EarlySlots)

// spentTokens are tokens that were spent at other servers. Two tasks use them.
type spentTokens struct {
	mu    sync.Mutex
	until map[protocol.Token]time.Time // by the machine's clock
}

func (s *spentTokens) add(now time.Time, tokens []protocol.Token) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.until, func(_ protocol.Token, until time.Time) bool { return until.Before(now) })
	if s.until == nil {
		s.until = map[protocol.Token]time.Time{}
	}
	for _, t := range tokens {
		s.until[t] = now.Add(spentFor)
	}
}

func (s *spentTokens) has(t protocol.Token) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.until[t]
	return ok
}

// spentBy returns the token that has opened, as the others are told of it.
func (m *member) spentBy(e events.Notice) []ledger.Spent {
	token, err := hex.DecodeString(e.Token)
	if err != nil || len(token) != protocol.TokenSize {
		return nil
	}
	until := m.time(e.Time).Add(spentFor)
	return []ledger.Spent{{Token: protocol.Token(token), Until: time.UnixMilli(until.UnixMilli())}} // as the store will have it
}

// spend makes tokens worth nothing here that were spent at another node: those that the kernel has, and
// those that are still to be loaded.
func (m *member) spend(ctx context.Context, all []ledger.Spent) {
	if len(all) == 0 {
		return
	}
	var tokens []protocol.Token
	for _, x := range all {
		tokens = append(tokens, x.Token)
	}
	m.keyring.spent.add(m.clock().Wall, tokens)
	if err := m.host.TakeOutTokens(ctx, tokens); err != nil {
		m.failure("tokens that were spent at other nodes are still in the kernel", err)
	}
}
