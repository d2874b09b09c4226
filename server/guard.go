package server

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"knockkit/internal/kernel/claim"
)

// GuardCommand is the hidden command by which the program runs itself as the
// guard of an `install --try`.
const GuardCommand = claim.GuardCommand

// order is what the guard is told at its start, as one line of JSON.
type order struct {
	Backend  string
	Saved    string        // the rules to put back
	Patience time.Duration // counted from `committed`
}

// What the guard is told after that. The end of its orders means `undo`.
const (
	committed = "committed\n"
	keep      = "keep\n"
	undo      = "undo\n"
)

// What it answers: that it will do what it was told, and what it did. Any other answer is
// why it could not.
const (
	ready     = "ready\n"
	wasKept   = "kept"
	wasUndone = "undone"
)

// Files that the guard inherits, beside its standard input for orders.
const (
	guardLock    = 3
	guardAnswers = 4
)

// RunGuard is the guard's own process. It returns what it could not tell the process that
// started it, as that is gone: told says that the old rules are back, the error why not.
func RunGuard(ctx context.Context, orders io.Reader, open func(name string) (Backend, error)) (untold bool, err error) {
	lock, answers := os.NewFile(guardLock, "lock"), os.NewFile(guardAnswers, "answers")
	unix.CloseOnExec(guardLock)
	unix.CloseOnExec(guardAnswers)
	in := bufio.NewReader(orders)
	srv, o, err := takeOrder(in, open)
	if err != nil {
		return false, err
	}
	if _, err := io.WriteString(answers, ready); err != nil {
		return false, nil // whoever started us went away before anything was changed
	}
	if keeps(in, o.Patience, claim.Inherited(claim.Lock, lock)) {
		_, _ = io.WriteString(answers, wasKept) // it was asked for: nothing else happens
		return false, nil
	}
	answer := wasUndone
	err = srv.putBack(ctx, o.Saved, lock, answers)
	if err != nil {
		answer = strings.Join(strings.Fields(err.Error()), " ")
	}
	if _, failed := io.WriteString(answers, answer); failed != nil {
		return true, err
	}
	return false, nil
}

func takeOrder(in *bufio.Reader, open func(name string) (Backend, error)) (*Server, order, error) {
	var o order
	line, err := in.ReadBytes('\n')
	if err != nil {
		return nil, o, fmt.Errorf("orders: %w", err)
	}
	if err := json.Unmarshal(line, &o); err != nil {
		return nil, o, fmt.Errorf("orders: %w", err)
	}
	b, err := open(o.Backend)
	return New(b, Settings{}), o, err
}

// keeps waits for the end of the trial, and reports whether the new rules are to stay. The
// clock begins when they are in the kernel. Orders end when nobody is left who could
// commit them: the process that gave them, and its tools.
func keeps(in *bufio.Reader, patience time.Duration, lock *claim.Claim) bool {
	words := make(chan string)
	go func() {
		defer close(words)
		for {
			word, err := in.ReadString('\n')
			if err != nil {
				return
			}
			words <- word
		}
	}()
	var over <-chan time.Time
	for {
		select {
		case word := <-words: // "" at their end
			if word != committed {
				return word == keep
			}
			over = time.After(patience)
			_ = lock.EndsAt(time.Now().Add(patience)) // who waits is told less
		case <-over:
			return false
		}
	}
}
