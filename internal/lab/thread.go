//go:build linux

package lab

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"golang.org/x/sys/unix"
)

// onOwnThread runs f on an operating system thread that nothing else uses and that
// ends afterwards, so f may move it to other namespaces without moving it back.
// A panic of f, and its runtime.Goexit (which is how t.Fatal ends a test), happen
// to the caller.
func onOwnThread(f func() error) error {
	var (
		err      error
		returned bool
		panicked any
		done     = make(chan struct{})
	)
	go lockedToThread(func() {
		defer close(done)
		defer func() {
			if p := recover(); p != nil {
				panicked = fmt.Sprintf("%v\n\n%s", p, debug.Stack())
			}
		}()
		err = f()
		returned = true
	})
	<-done
	switch {
	case panicked != nil:
		panic(panicked)
	case !returned:
		runtime.Goexit()
	}
	return err
}

// lockedToThread runs f on a thread that ends with the calling goroutine, but never
// on the process's first thread: that one cannot end, and /proc/self shows its
// namespaces.
func lockedToThread(f func()) {
	runtime.LockOSThread() // not unlocked: so the thread ends
	if unix.Gettid() != unix.Getpid() {
		f()
		return
	}
	// While this goroutine holds the first thread, the next one gets another.
	done := make(chan struct{})
	go func() {
		defer close(done)
		lockedToThread(f)
	}()
	<-done
	runtime.UnlockOSThread()
}
