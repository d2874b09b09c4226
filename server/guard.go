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

// The orders after that. Their end means `undo`.
const (
	committed = "committed\n"
	keep      = "keep\n"
	undo      = "undo\n"
)

// The guard's answers: that it is ready, what it was told of leases, and what it did. Any other
// answer is the error that kept it from putting the old rules back.
const (
	ready      = "ready\n"
	toldBegins = "[" // a list in JSON
	wasKept    = "kept"
	wasUndone  = "undone"
)

// Files that the guard inherits, beside its standard input for orders.
const (
	guardClaim   = 3
	guardAnswers = 4
)

// RunGuard runs the guard's own process, with the server that open returns for a backend. Where
// the process that started it is gone and cannot be told, it returns what happened: untold says
// that the old rules are back, the error why they are not.
func RunGuard(ctx context.Context, orders io.Reader, open func(name string) (*Server, error)) (untold bool, err error) {
	install := claim.Inherited(claim.Install, os.NewFile(guardClaim, "claim"))
	answers := os.NewFile(guardAnswers, "answers")
	unix.CloseOnExec(guardClaim)
	unix.CloseOnExec(guardAnswers)
	in := bufio.NewReader(orders)
	srv, o, err := takeOrder(in, open)
	if err != nil {
		return false, err
	}
	if _, err := io.WriteString(answers, ready); err != nil {
		return false, nil // the process that started us is gone, and has changed nothing
	}
	if keeps(in, o.Patience) {
		_, _ = io.WriteString(answers, wasKept) // it was asked for: nothing else happens
		return false, nil
	}
	answer := wasUndone
	err = srv.undoing(ctx, func() error {
		return srv.undo(ctx, o.Saved, install, func(texts []string) []string {
			for _, text := range texts { // in case that this process is killed before it is done
				_, _ = io.WriteString(answers, text+"\n")
			}
			return texts
		}, answers)
	})
	if err != nil {
		answer = strings.Join(strings.Fields(err.Error()), " ")
	}
	if _, failed := io.WriteString(answers, answer); failed != nil {
		return true, err
	}
	return false, nil
}

func takeOrder(in *bufio.Reader, open func(name string) (*Server, error)) (*Server, order, error) {
	var o order
	line, err := in.ReadBytes('\n')
	if err != nil {
		return nil, o, fmt.Errorf("orders: %w", err)
	}
	if err := json.Unmarshal(line, &o); err != nil {
		return nil, o, fmt.Errorf("orders: %w", err)
	}
	s, err := open(o.Backend)
	return s, o, err
}

// keeps waits for the end of the trial, and reports whether the new rules stay. The time of the
// trial begins when they are in the kernel. The end of the orders says that the process that gave
// them and its tools are gone, so that nothing more is committed.
func keeps(in *bufio.Reader, patience time.Duration) bool {
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
		case <-over:
			return false
		}
	}
}
