package events

import "sync"

// queueLength is how many items wait for a watcher that is slow.
const queueLength = 1024

// Hub hands every item to every watcher. Who does not keep up loses items, and is
// told how many; nobody waits for anybody.
type Hub struct {
	mu       sync.Mutex
	watchers map[*Watcher]bool
	closed   bool
}

// Watcher is one reader of a [Hub].
type Watcher struct {
	C <-chan Item // closed with the hub

	hub  *Hub
	c    chan Item
	lost uint64
}

// NewHub returns a hub that nobody watches.
func NewHub() *Hub { return &Hub{watchers: map[*Watcher]bool{}} }

// Watch returns a watcher of everything from now on. The caller stops it.
func (h *Hub) Watch() *Watcher {
	w := &Watcher{hub: h, c: make(chan Item, queueLength)}
	w.C = w.c
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		close(w.c)
		return w
	}
	h.watchers[w] = true
	return w
}

// Stop ends the watcher: C is closed.
func (w *Watcher) Stop() {
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	if w.hub.watchers[w] {
		delete(w.hub.watchers, w)
		close(w.c)
	}
}

// Publish hands items to all watchers. It never waits.
func (h *Hub) Publish(items ...Item) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.watchers {
		for _, i := range items {
			w.offer(i)
		}
	}
}

// offer queues an item, after word of those that were lost before it.
func (w *Watcher) offer(i Item) {
	// Room for two: the word, and what comes after it.
	if w.lost > 0 && len(w.c)+2 <= cap(w.c) {
		w.c <- Item{Lost: w.lost, Where: "this reader is too slow"}
		w.lost = 0
	}
	if w.lost > 0 {
		w.lost++
		return
	}
	select {
	case w.c <- i:
	default:
		w.lost++
	}
}

// Close ends all watchers.
func (h *Hub) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for w := range h.watchers {
		delete(h.watchers, w)
		close(w.c)
	}
}
