package events

import "sync"

// queueLength is how many items wait for a watcher that is slow.
const queueLength = 1024

// hub hands every item to every watcher. Who does not keep up loses items, and is
// told how many; nobody waits for anybody.
type hub struct {
	mu       sync.Mutex
	watchers map[*watcher]bool
	closed   bool
}

// watcher is one reader of a [hub].
type watcher struct {
	C <-chan Item // closed with the hub

	hub  *hub
	c    chan Item
	lost uint64
}

// newHub returns a hub that nobody watches.
func newHub() *hub { return &hub{watchers: map[*watcher]bool{}} }

// Watch returns a watcher of everything from now on. The caller stops it.
func (h *hub) Watch() *watcher {
	w := &watcher{hub: h, c: make(chan Item, queueLength)}
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
func (w *watcher) Stop() {
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	if w.hub.watchers[w] {
		delete(w.hub.watchers, w)
		close(w.c)
	}
}

// Publish hands items to all watchers. It never waits.
func (h *hub) Publish(items ...Item) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.watchers {
		for _, i := range items {
			w.offer(i)
		}
	}
}

// offer queues an item, after word of those that were lost before it.
func (w *watcher) offer(i Item) {
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
func (h *hub) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for w := range h.watchers {
		delete(h.watchers, w)
		close(w.c)
	}
}
