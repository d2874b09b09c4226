package server_test

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
	"knockkit/server"
)

// takeLock takes the lock of a host, waiting so long.
func takeLock(t *testing.T, h *lab.Host, patience time.Duration) (lock *server.Lock, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err = h.Do(func() (err error) {
		lock, err = server.TakeLock(ctx)
		return err
	})
	return lock, err
}

func TestTheLockIsHeldByOneAtATimeAndTheErrorNamesTheHolder(t *testing.T) {
	h := labtest.NewHost(t, "server")
	first, err := takeLock(t, h, soon)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	_, err = takeLock(t, h, 50*time.Millisecond)
	held := new(server.LockError)
	if !errors.As(err, &held) || held.PID != os.Getpid() || held.UID != os.Getuid() || held.Stranger {
		t.Errorf("got %#v; want this process, %d", err, os.Getpid())
	}
	if waited := time.Since(start); waited < 50*time.Millisecond || waited > soon {
		t.Errorf("it gave up after %s", waited)
	}
	// Another host has a lock of its own.
	elsewhere, err := takeLock(t, labtest.NewHost(t, "elsewhere"), soon)
	if err != nil {
		t.Errorf("a host of its own: %v", err)
	} else {
		elsewhere.Release()
	}
	first.Release()
	second, err := takeLock(t, h, soon)
	if err != nil {
		t.Fatalf("after its release: %v", err)
	}
	second.Release()
}

func TestWhoWaitsForTheLockGetsItWhenTheHolderReleasesIt(t *testing.T) {
	h := labtest.NewHost(t, "server")
	first, err := takeLock(t, h, soon)
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan error, 8)
	for range cap(got) {
		go func() {
			lock, err := takeLock(t, h, soon)
			if err == nil {
				lock.Release()
			}
			got <- err
		}()
	}
	first.Release()
	for range cap(got) {
		if err := <-got; err != nil {
			t.Error(err)
		}
	}
}

// TestAStrangerWhoHoldsTheLockIsToldApart: the name of an abstract socket is free
// to everybody, so that any user could keep knockd from working.
func TestAStrangerWhoHoldsTheLockIsToldApart(t *testing.T) {
	labtest.NeedRoot(t)
	const nobody = 65534
	h := labtest.NewHost(t, "server")
	var lock *server.Lock
	if err := h.Do(func() error { // the thread ends with it, and its identity too
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, nobody, nobody, nobody); errno != 0 {
			return errno
		}
		var err error
		lock, err = server.TakeLock(t.Context())
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer lock.Release()
	start := time.Now()
	_, err := takeLock(t, h, soon)
	held := new(server.LockError)
	if !errors.As(err, &held) || !held.Stranger || held.UID != nobody {
		t.Errorf("got %#v", err)
	}
	if waited := time.Since(start); waited > soon/2 {
		t.Errorf("it waited %s for somebody who need never let go", waited)
	}
}
