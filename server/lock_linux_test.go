package server_test

import (
	"context"
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"knockkit/internal/kernel/backend"
	"knockkit/internal/kernel/claim"
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
	if !errors.As(err, &held) || held.Owner.PID != os.Getpid() {
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

// nobody is a user who is not root.
const nobody = 65534

// asNobody calls f on a thread that is another user's, and ends with it.
func asNobody(t *testing.T, h *lab.Host, f func() error) {
	t.Helper()
	if err := h.Do(func() error {
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, nobody, nobody, nobody); errno != 0 {
			return errno
		}
		return f()
	}); err != nil {
		t.Fatal(err)
	}
}

func TestAStrangerCannotTakeTheLock(t *testing.T) {
	labtest.NeedRoot(t)
	h := labtest.NewHost(t, "server")
	for _, held := range []bool{false, true} {
		if held {
			lock, err := takeLock(t, h, soon)
			if err != nil {
				t.Fatal(err)
			}
			defer lock.Release()
		}
		asNobody(t, h, func() error {
			lock, err := server.TakeLock(t.Context())
			if err == nil {
				lock.Release()
			}
			if !errors.Is(err, backend.ErrPrivilege) {
				t.Errorf("held by root: %v: %v", held, err)
			}
			return nil
		})
	}
}

// TestWhoHasTheOldNameIsWaitedForUnlessItIsAStranger: versions before had an abstract Unix
// socket for a lock, which any user can bind, and whose backlog any user can fill.
func TestWhoHasTheOldNameIsWaitedForUnlessItIsAStranger(t *testing.T) {
	labtest.NeedRoot(t)
	h := labtest.NewHost(t, "server")
	var old net.Listener
	listen := func() (err error) {
		old, err = net.Listen("unix", claim.LockName)
		return err
	}
	if err := h.Do(listen); err != nil {
		t.Fatal(err)
	}
	_, err := takeLock(t, h, 50*time.Millisecond)
	held := new(server.LockError)
	if !errors.As(err, &held) || held.Owner.PID != os.Getpid() {
		t.Errorf("an older knockd holds the lock: %v", err)
	}
	got := make(chan error, 1)
	go func() {
		lock, err := takeLock(t, h, soon)
		if err == nil {
			lock.Release()
		}
		got <- err
	}()
	old.Close()
	if err := <-got; err != nil {
		t.Errorf("when it is done: %v", err)
	}
	asNobody(t, h, listen)
	defer old.Close()
	for _, full := range []bool{false, true} {
		if full {
			fill(t, h, claim.LockName)
		}
		start, worked := time.Now(), processorTime(t)
		lock, err := takeLock(t, h, soon)
		if err != nil {
			t.Fatalf("a stranger has the name, with a full backlog: %v: %v", full, err)
		}
		lock.Release()
		if took, worked := time.Since(start), processorTime(t)-worked; took > soon/10 || worked > soon/20 {
			t.Errorf("full: %v: it took %s, and %s of work", full, took, worked)
		}
	}
}

// fill connects to a name until nobody can any more.
func fill(t *testing.T, h *lab.Host, name string) {
	t.Helper()
	for range 10_000 { // net.core.somaxconn is 4096
		var c net.Conn
		err := h.Do(func() (err error) {
			c, err = net.Dial("unix", name)
			return err
		})
		if errors.Is(err, unix.EAGAIN) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
	}
	t.Fatal("the backlog has no end")
}

func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestAnOlderKnockdSeesThatTheLockIsHeld: it takes the name, or waits for who has it.
func TestAnOlderKnockdSeesThatTheLockIsHeld(t *testing.T) {
	h := labtest.NewHost(t, "server")
	lock, err := takeLock(t, h, soon)
	if err != nil {
		t.Fatal(err)
	}
	listen := func() (l net.Listener, err error) {
		err = h.Do(func() (err error) {
			l, err = net.Listen("unix", claim.LockName)
			return err
		})
		return l, err
	}
	if _, err := listen(); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("an older knockd gets %v", err)
	}
	lock.Release()
	l, err := listen()
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
}
