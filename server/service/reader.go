package service

import (
	"context"
	"sync"
	"time"

	"knockkit/protocol"
	"knockkit/server/backend"
	"knockkit/server/events"
)

// pageFresh is how old a reading for the metrics may be: one serves all visits for a while.
const pageFresh = 2 * time.Second

// reader reads the kernel for all parts of the service: one read at a time, and one for all
// who ask while another runs. What it returns is everybody's, and nobody's to change.
type reader struct {
	clock events.Clock

	mu   sync.Mutex // held while the kernel is read
	host Host
	last events.Seen // Reading is nil before the first
	page page
}

// page is a reading with how full the tables are, which no other part asks for.
type page struct {
	began   events.Moment
	reading *backend.Reading // nil before the first, and after an error
	err     error
}

// use makes a server the one that reads, from the next reading on.
func (r *reader) use(h Host) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.host, r.last, r.page = h, events.Seen{}, page{}
}

// fresh returns a reading that began after the call.
func (r *reader) fresh(ctx context.Context) (events.Seen, error) {
	asked := r.clock().Up
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last.Reading != nil && r.last.Began.Up > asked {
		return r.last, nil
	}
	defer giveBack()
	began := r.clock()
	in, sources, err := r.host.Look(ctx)
	if err != nil {
		return events.Seen{}, err
	}
	r.last = events.Seen{Began: began, Reading: &backend.Reading{Installed: in, Sources: sources}}
	return r.last, nil
}

// recent returns a reading for the page, and at most [pageFresh] old what it returned before.
func (r *reader) recent(ctx context.Context) (*backend.Reading, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.clock()
	if p := r.page; (p.reading != nil || p.err != nil) && now.Up-p.began.Up <= pageFresh {
		return p.reading, p.err
	}
	defer giveBack()
	r.page = page{began: now}
	st, err := r.host.Status(ctx, nil, nil)
	if err != nil {
		r.page.err = err
		return nil, err
	}
	var profiles []*protocol.Profile
	for _, p := range st.Profiles {
		profiles = append(profiles, p.Profile)
	}
	r.page.reading = &backend.Reading{Sources: st.Sources, Fill: st.Fill,
		Installed: backend.Installed{Profiles: profiles, Policy: st.Policy, Drift: st.Drift, Foreign: st.Foreign}}
	return r.page.reading, nil
}
