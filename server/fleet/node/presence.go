package node

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"knockkit/server/fleet"
)

// Of what nodes tell each other all the time.
const (
	tellEvery  = 2 * time.Second
	awayAfter  = 7 * time.Second
	maxPeers   = 4096
	samples    = 4 // of which the fastest says how far a clock is ahead
	maxVersion = 64
)

// beat is what a node tells of itself.
type beat struct {
	Node    string    `json:"node"`
	Version string    `json:"version"`
	Engine  bool      `json:"engine"`
	Run     string    `json:"run"`    // of the process: when it started, so that an earlier one is less
	Number  uint64    `json:"number"` // each once: an old one is nobody's clock
	Clock   time.Time `json:"clock"`
}

// presence knows the other nodes.
type presence struct {
	self     beat
	now      func() time.Time
	returned func(last time.Time) // another node is there, or again

	mu    sync.Mutex
	peers map[string]*seen
}

// seen is another node, as far as it has told.
type seen struct {
	beat
	last  time.Time // by our clock
	since time.Time // it is connected
	ahead []time.Duration
	runs  []string // processes that were before it
}

func newPresence(c *fleet.Config) *presence {
	run := fmt.Sprintf("%016x", time.Now().UnixNano())
	return &presence{self: beat{Node: c.Node, Version: c.Version, Engine: c.Listen != "", Run: run}, now: time.Now, returned: func(time.Time) {}, peers: map[string]*seen{}}
}

// beatName is what beats are tied to when they are sealed.
const beatName = "beat"

func subjectOfBeats(s *seals) string { return "knockd." + s.word("beats") }

// run tells what there is to tell until the context ends.
func (p *presence) run(ctx context.Context, nc *nats.Conn, all []*seals) {
	for _, s := range all {
		sub, err := nc.Subscribe(subjectOfBeats(s), func(m *nats.Msg) {
			if text, err := s.open(beatName, m.Data); err == nil {
				p.take(text)
			}
		})
		if err == nil {
			defer func() { _ = sub.Unsubscribe() }()
		}
	}
	for ctx.Err() == nil {
		p.mu.Lock()
		p.self.Number++
		p.self.Clock = p.now()
		text, _ := json.Marshal(p.self) // these types have no errors
		p.mu.Unlock()
		for _, s := range all {
			_ = nc.Publish(subjectOfBeats(s), s.seal(beatName, text)) // the next one may get there
		}
		pause(ctx, tellEvery)
	}
}

// take takes in a beat of another node.
func (p *presence) take(text []byte) {
	var b beat
	if json.Unmarshal(text, &b) != nil || b.Node == "" || b.Node == p.self.Node || len(b.Version) > maxVersion {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now, s := p.now(), p.peers[b.Node]
	switch {
	case s == nil && len(p.peers) >= maxPeers:
		return
	case s == nil:
		s = &seen{last: time.Unix(1, 0)}
		p.peers[b.Node] = s
	case b.Run == s.Run && b.Number <= s.Number:
		return // told before
	case b.Run < s.Run && (now.Sub(s.last) <= awayAfter || slices.Contains(s.runs, b.Run)):
		return // a replay; one that is not known and comes alone is of a node whose clock was set back
	}
	if now.Sub(s.last) > awayAfter || b.Run != s.Run {
		s.since = now
		p.returned(s.last)
	}
	if b.Run != s.Run {
		if s.Run != "" {
			s.runs = append(s.runs[max(0, len(s.runs)-samples):], s.Run)
		}
		s.ahead = nil
	}
	s.beat, s.last = b, now
	s.ahead = append(s.ahead[max(0, len(s.ahead)-samples+1):], b.Clock.Sub(now))
}

// clock is how far the node's clock is ahead: of what it told lately, what was fastest.
func (s *seen) clock() time.Duration { return slices.Max(s.ahead) }

// list returns the other nodes.
func (p *presence) list() (all []fleet.Peer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	for _, s := range p.peers {
		peer := fleet.Peer{Name: s.Node, Version: s.Version, Engine: s.Engine, Connected: now.Sub(s.last) <= awayAfter, Since: s.since, Ahead: s.clock()}
		if !peer.Connected {
			peer.Since = s.last
		}
		all = append(all, peer)
	}
	slices.SortFunc(all, func(x, y fleet.Peer) int { return cmp.Compare(x.Name, y.Name) })
	return all
}

// offset is the fleet's time, the median of all clocks, minus that of this node.
func (p *presence) offset() time.Duration {
	all := []time.Duration{0}
	for _, peer := range p.list() {
		if peer.Connected {
			all = append(all, peer.Ahead)
		}
	}
	slices.Sort(all)
	n := len(all)
	return (all[(n-1)/2] + all[n/2]) / 2
}
