package node

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"knockkit/internal/lab/labtest"

	"knockkit/server/fleet"
)

const soon = 30 * time.Second

// site is a node of a test, with what its store has told.
type site struct {
	*Node
	t    testing.TB
	stop func()

	mu       sync.Mutex
	has      map[ID]string
	caughtUp int
}

// addresses are free ones on the loopback interface.
func addresses(t testing.TB, n int) (all []string) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		all = append(all, l.Addr().String())
	}
	return all
}

func config(t testing.TB, nodes []string, i int) fleet.Config {
	return fleet.Config{Name: "web", Secrets: []fleet.Secret{{1}}, Node: nodes[i], Listen: nodes[i], Nodes: nodes, Store: t.TempDir(), Log: slog.New(slog.NewTextHandler(testLog{t, i}, &slog.HandlerOptions{Level: slog.LevelDebug}))}
}

type testLog struct {
	t testing.TB
	i int
}

func (l testLog) Write(text []byte) (int, error) {
	if l.t.Context().Err() == nil {
		l.t.Logf("%d %s", l.i, text)
	}
	return len(text), nil
}

// run runs a node until the test ends, or stop is called.
func run(t testing.TB, c fleet.Config) *site {
	t.Helper()
	n, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	s := &site{Node: n, t: t, has: map[ID]string{}}
	var group sync.WaitGroup
	group.Go(func() {
		if err := n.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	group.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case b := <-n.Batches():
				s.take(b)
			}
		}
	})
	s.stop = func() { cancel(); group.Wait() }
	t.Cleanup(s.stop)
	return s
}

func (s *site) take(b fleet.Batch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b.Again {
		clear(s.has)
	}
	for _, r := range b.Records {
		if r.Value == nil {
			delete(s.has, r.ID)
		} else {
			s.has[r.ID] = string(r.Value)
		}
	}
	if b.CaughtUp {
		s.caughtUp++
	}
}

// shows waits until the store has told a text.
func (s *site) shows(id ID, text string) {
	s.t.Helper()
	labtest.Eventually(s.t, soon, func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if is := s.has[id]; is != text {
			return fmt.Errorf("%s has %q, not %q: %+v", s.config.Node, is, text, s.Health())
		}
		return nil
	})
}

func (s *site) connected(is bool) {
	s.t.Helper()
	labtest.Eventually(s.t, soon, func() error {
		if h := s.Health(); h.Connected != is {
			return fmt.Errorf("%s: %+v", s.config.Node, h)
		}
		return nil
	})
}

func TestWhatOneNodeStoresAllOthersAreTold(t *testing.T) {
	t.Parallel()
	nodes := addresses(t, 3)
	var all []*site
	for i := range nodes {
		all = append(all, run(t, config(t, nodes, i)))
	}
	client := config(t, nodes, 0)
	client.Node, client.Listen = "db9", ""
	all = append(all, run(t, client))
	for i, s := range all {
		id := ID{byte(i + 1)}
		s.Put(id, []byte(fmt.Sprint("text ", i)), time.Time{})
		for _, other := range all {
			other.shows(id, fmt.Sprint("text ", i))
		}
	}
	all[0].Put(ID{1}, nil, time.Time{})
	all[1].Put(ID{2}, []byte("for a moment"), time.Now().Add(time.Second))
	for _, s := range all {
		s.shows(ID{1}, "")
		s.shows(ID{2}, "")
	}
	labtest.Eventually(t, soon, func() error {
		for _, s := range all {
			if n := len(s.Health().Peers); n != 3 {
				return fmt.Errorf("%s knows %d others", s.config.Node, n)
			}
		}
		return nil
	})
}
