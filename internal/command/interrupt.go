package command

import (
	"context"
	"os"
	"os/signal"
	"slices"
	"sync/atomic"
	"syscall"
)

// InterruptError says that a signal asked the program to end. It is a [context.Canceled].
type InterruptError struct{ Signal syscall.Signal }

func (e *InterruptError) Error() string {
	if e.Signal == syscall.SIGINT {
		return "interrupted"
	}
	return "interrupted by " + e.SignalName()
}

// SignalName returns the signal's name: "SIGTERM".
func (e *InterruptError) SignalName() string {
	switch e.Signal {
	case syscall.SIGINT:
		return "SIGINT"
	case syscall.SIGTERM:
		return "SIGTERM"
	case syscall.SIGHUP:
		return "SIGHUP"
	}
	return e.Signal.String()
}

// Is reports whether target is context.Canceled.
func (e *InterruptError) Is(target error) bool { return target == context.Canceled }

// Code is the exit code by which a shell reports a program that the signal ended:
// 130 for Ctrl-C, 143 for SIGTERM.
func (e *InterruptError) Code() int { return 128 + int(e.Signal) }

// keysKey is that of an *atomic.Bool: Ctrl-C is for another program.
type keysKey struct{}

// Foreground makes Ctrl-C and Ctrl-\ keys of the program that we start and wait for, as an editor:
// SIGINT and SIGQUIT end neither us nor a context of [Interruptible], until back is called.
func Foreground(ctx context.Context) (back func()) {
	quit := make(chan os.Signal, 1)
	if !signal.Ignored(syscall.SIGQUIT) {
		signal.Notify(quit, syscall.SIGQUIT) // caught, not ignored: the other program would inherit that
	}
	others, ok := ctx.Value(keysKey{}).(*atomic.Bool)
	if !ok {
		others = new(atomic.Bool)
	}
	others.Store(true)
	return func() {
		signal.Stop(quit)
		others.Store(false)
	}
}

// Interruptible returns a context that one of the signals ends. Its cause is then an
// [*InterruptError]. A signal that the program was started with ignored stays ignored
// (nohup). stop gives the signals back.
func Interruptible(ctx context.Context, signals ...os.Signal) (interrupt context.Context, stop context.CancelFunc) {
	others, ok := ctx.Value(keysKey{}).(*atomic.Bool)
	if !ok {
		others = new(atomic.Bool)
		ctx = context.WithValue(ctx, keysKey{}, others)
	}
	interrupt, cancel := context.WithCancelCause(ctx)
	signals = slices.DeleteFunc(signals, signal.Ignored)
	if len(signals) == 0 { // to Notify that means all
		return interrupt, func() { cancel(nil) }
	}
	came := make(chan os.Signal, 1)
	signal.Notify(came, signals...)
	go func() {
		for {
			select {
			case s := <-came:
				if s == os.Interrupt && others.Load() {
					continue
				}
				number, _ := s.(syscall.Signal)
				cancel(&InterruptError{number})
			case <-interrupt.Done():
			}
			return
		}
	}()
	return interrupt, func() {
		signal.Stop(came)
		cancel(nil)
	}
}
