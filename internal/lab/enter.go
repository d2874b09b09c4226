//go:build linux

package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// insideMark tells a process that [Enter] started it inside new namespaces.
const insideMark = "KNOCKKIT_LAB_INSIDE"

// Entry is how [Enter] ended.
type Entry struct {
	Here bool // go on: this process can make hosts
	Code int  // else the program ran elsewhere and ended with this exit status
}

// Enter sees to it that hosts can be made. With the privilege to make network
// namespaces (root has it) it changes nothing. Otherwise it runs this program
// again, with the same arguments and streams, as root of a new user, mount and
// network namespace, waits for it and returns its exit status: the caller then
// exits with that. It is meant to be the first thing that a program does.
//
// An error says that this machine allows neither. When ctx ends, so does the other
// process; it never outlives this one.
func Enter(ctx context.Context) (Entry, error) {
	if err := os.Setenv("PATH", withSystemFolders(os.Getenv("PATH"))); err != nil {
		return Entry{}, err
	}
	if os.Getenv(insideMark) != "" {
		return arrive()
	}
	if Usable() == nil {
		return Entry{Here: true}, nil
	}
	return again(ctx)
}

// Usable reports why this process cannot make hosts; nil: it can.
func Usable() error {
	return onOwnThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("neither root nor in a user namespace of its own: unshare network namespace: %w", err)
		}
		return nil
	})
}

// arrive finishes the new namespaces from inside. The mark goes, so that programs
// started from here do not do this a second time.
func arrive() (Entry, error) {
	if err := os.Unsetenv(insideMark); err != nil {
		return Entry{}, err
	}
	// iptables locks a file in /run, which is not this root's to write in.
	if err := unix.Mount("tmpfs", "/run", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755"); err != nil {
		return Entry{}, fmt.Errorf("this machine restricts user namespaces: mount /run: %w", err)
	}
	if err := Usable(); err != nil {
		return Entry{}, err
	}
	// This network is new, and nobody else's: what needs loopback finds it as usual.
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return Entry{}, fmt.Errorf("this machine restricts user namespaces: %w", err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return Entry{}, fmt.Errorf("this machine restricts user namespaces: %w", err)
	}
	return Entry{Here: true}, nil
}

func again(ctx context.Context) (Entry, error) {
	// The child is to end with this process. The kernel means: with this thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	cmd := exec.CommandContext(ctx, "/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), insideMark+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return Entry{}, nil
	case errors.As(err, &exit):
		code := exit.ExitCode()
		if code < 0 { // a signal ended it
			code = 1
		}
		return Entry{Code: code}, nil
	}
	return Entry{}, fmt.Errorf("this machine allows neither root nor user namespaces: %w", err)
}

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
