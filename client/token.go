package client

import (
	"context"
	"time"

	"knockkit/protocol"
)

// A sending is what a step of an attempt sends.
type sending struct {
	knock protocol.Knock
	token *protocol.Token // nil unless the knock is a signed one
	slot  int64           // of the token
}

// sendings returns what an attempt sends: the sequence, or the carrier with a token that no attempt
// has used. Another attempt takes another one, whose slot may be another too.
func (v *visit) sendings(ctx context.Context) (all []sending, err error) {
	if v.Profile.Signed != nil {
		s, err := v.signed(ctx)
		return []sending{s}, err
	}
	for _, s := range v.Profile.Sequence {
		all = append(all, sending{knock: s.Knock})
	}
	return all, nil
}

// signed takes a token of the slot that is now. Where all of it are used, it waits for the next slot,
// or until ctx ends.
func (v *visit) signed(ctx context.Context) (s sending, err error) {
	s.knock = v.Profile.Signed.Carrier
	for {
		s.slot = protocol.Slot(time.Now())
		if index, ok := v.Indexes.Next(v.Key, s.slot); ok {
			token := v.Key.Token(s.slot, index)
			s.token = &token
			return s, nil
		}
		next := protocol.SlotStart(s.slot + 1)
		v.waits(next)
		if err := sleepUntil(ctx, next); err != nil {
			return s, err
		}
	}
}

// waits tells who wants to know that the knock waits for the next slot.
func (s *shared) waits(until time.Time) {
	if s.Waits == nil {
		return
	}
	s.observing.Lock()
	defer s.observing.Unlock()
	s.Waits(until)
}
