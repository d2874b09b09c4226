package service

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"knockkit/internal/kernel/backend"
	"knockkit/protocol"
	"knockkit/server"
	"knockkit/server/events"
)

// raced is a host on which another tool works at the very moments that no real one
// can be made to hit: what each look sees is written down beforehand.
type raced struct {
	Host
	looks   []look
	carried [][]backend.Source // of each install
}

type look struct {
	in   backend.Installed
	held []backend.Source
}

func (r *raced) Read(context.Context, int) (*backend.Reading, error) {
	l := r.looks[0]
	r.looks = r.looks[1:]
	return &backend.Reading{Installed: l.in, Sources: l.held}, nil
}

func (r *raced) Install(_ context.Context, _ []*protocol.Profile, o server.InstallOptions) (server.Change, error) {
	r.carried = append(r.carried, o.Carried)
	return server.Change{}, nil
}

func TestAFlushWhileTheKernelIsReadOrPutRightTakesNoLease(t *testing.T) {
	profiles := []*protocol.Profile{mysql()}
	whole := backend.Installed{Profiles: profiles}
	one, two := open("10.9.1.0/24", time.Hour), open("10.9.2.0/24", time.Hour)
	both := []backend.Source{one, two}
	drifted := func(records ...protocol.Family) backend.Installed {
		return backend.Installed{Profiles: profiles, Families: records, Drift: []string{"a rule is gone"}}
	}
	for _, c := range []struct {
		name    string
		looks   []look
		carried []int // how many leases each install carries
		left    int   // remembered afterwards
	}{
		{"nothing happens", []look{{whole, both}}, nil, 2},
		{"a flush before the look", []look{{backend.Installed{}, nil}, {whole, both}}, []int{2}, 2},
		{"a flush between sources and rules", []look{{backend.Installed{}, both}, {whole, nil}, {whole, both}}, []int{0, 2}, 2},
		{"a lease was given back", []look{{whole, both[:1]}}, nil, 1},
		{"a lease was given back, then a flush", []look{{backend.Installed{}, both[:1]}, {whole, both}}, []int{1}, 2},               // documented: it comes back
		{"a lease is missing, and a rule is gone", []look{{drifted(protocol.Families()...), both[:1]}, {whole, both}}, []int{1}, 2}, // a table may have been lost too
		{"once: a lease was used up, then a rule is gone", []look{{drifted(protocol.Families()...), both[:1]}, {whole, both[:1]}}, []int{0}, 1},
		{"once: a flush of the other family", []look{{drifted(protocol.IPv4), both[:1]}, {whole, both[:1]}}, []int{0}, 1},
		{"once: a flush of this family", []look{{drifted(protocol.IPv6), nil}, {whole, both}}, []int{2}, 2},
		{"once: a rule is gone, then a flush", []look{{drifted(protocol.Families()...), both}, {whole, nil}, {whole, both}}, []int{0, 2}, 2},
		{"a second flush during the repair", []look{{backend.Installed{}, both[:1]}, {whole, both[1:]}, {whole, both}}, []int{1, 1}, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			host := &raced{looks: c.looks}
			k := newKeeper(newService(Config{Log: slog.New(slog.DiscardHandler)}, func() events.Moment { return at(time.Second) }))
			wanted := mysql()
			wanted.Once = strings.HasPrefix(c.name, "once: ")
			whole.Profiles[0] = wanted // what the looks see
			k.use(host, Wanted{Profiles: []*protocol.Profile{wanted}})
			k.memory.Sync(0, 0, both)
			if err := k.check(t.Context()); err != nil {
				t.Fatal(err)
			}
			var carried []int
			for _, sources := range host.carried {
				carried = append(carried, len(sources))
			}
			if !slices.Equal(carried, c.carried) || k.memory.Len() != c.left || len(host.looks) > 0 {
				t.Errorf("installs carry %v, want %v; %d leases are remembered, want %d; %d looks were not had", carried, c.carried, k.memory.Len(), c.left, len(host.looks))
			}
		})
	}
}
