package command

import (
	"context"
	"os"
	"os/signal"
	"slices"
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

// Interruptible returns a context that one of the signals ends. Its cause is then an
// [*InterruptError]. A signal that the program was started with ignored stays ignored
// (nohup). stop gives the signals back.
func Interruptible(ctx context.Context, signals ...os.Signal) (interrupt context.Context, stop context.CancelFunc) {
	interrupt, cancel := context.WithCancelCause(ctx)
	signals = slices.DeleteFunc(signals, signal.Ignored)
	if len(signals) == 0 { // to Notify that means all
		return interrupt, func() { cancel(nil) }
	}
	came := make(chan os.Signal, 1)
	signal.Notify(came, signals...)
	go func() {
		select {
		case s := <-came:
			number, _ := s.(syscall.Signal)
			cancel(&InterruptError{number})
		case <-interrupt.Done():
		}
	}()
	return interrupt, func() {
		signal.Stop(came)
		cancel(nil)
	}
}
