package rights

import (
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// ErrNoNetwork says that this process can make no network namespace.
var ErrNoNetwork = errors.New("no network namespace can be made to try it in")

// InEmptyNetwork calls f on a thread in a network namespace of its own, which goes with the
// thread. Errors: [ErrNoNetwork]; those of f.
func InEmptyNetwork(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("%w: %w", ErrNoNetwork, err)
			return
		}
		done <- f()
	}()
	return <-done
}
