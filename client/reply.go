package client

import (
	"context"
	"errors"
	"slices"
	"syscall"
	"time"
)

// replyOf reads a socket's error as an answer from the network. sent is false
// for errors of this machine, as a missing route, and for none.
func replyOf(err error) (reply Reply, sent bool) {
	switch {
	case isAny(err, refusals()):
		return RefusedReply, true
	case unreachable(err):
		return NotReachable, false // the same number for a missing route and for a router's word
	}
	return NoReply, false
}

// unreachable reports whether there is no way to the address.
func unreachable(err error) bool { return isAny(err, dead()) }

func isAny(err error, numbers []syscall.Errno) bool {
	return slices.ContainsFunc(numbers, func(n syscall.Errno) bool { return errors.Is(err, n) })
}

// endWith sets a socket's deadline, and ends it at once when ctx does.
func endWith(ctx context.Context, setDeadline func(time.Time) error, until time.Time) (stop func() bool) {
	_ = setDeadline(until)
	return context.AfterFunc(ctx, func() { _ = setDeadline(time.Unix(1, 0)) })
}
