package fleet

import (
	"io"
	"sync"
)

// queue writes to a program without waiting for it.
type queue struct {
	mu      sync.Mutex
	waiting []byte
	some    chan struct{} // something waits; one is enough
	done    chan struct{}
	once    sync.Once
}

func newQueue(to io.WriteCloser) *queue {
	q := &queue{some: make(chan struct{}, 1), done: make(chan struct{})}
	go func() {
		defer to.Close()
		for {
			select {
			case <-q.done:
				return
			case <-q.some:
			}
			q.mu.Lock()
			text := q.waiting
			q.waiting = nil
			q.mu.Unlock()
			if _, err := to.Write(text); err != nil {
				return // its output ends too
			}
		}
	}()
	return q
}

// Write implements [io.Writer], and has no error.
func (q *queue) Write(text []byte) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = append(q.waiting, text...)
	select {
	case q.some <- struct{}{}:
	default: // one is on its way
	}
	return len(text), nil
}

// close ends the program's input.
func (q *queue) close() { q.once.Do(func() { close(q.done) }) }
