package main

import (
	"bufio"
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"knockkit/internal/command"
	"knockkit/protocol"
	"knockkit/server"
)

// answers returns the input from which a trial's answer comes. It fails where nothing can come any
// more: such a trial would be undone at once, and whoever started it wanted to see the new rules.
func (h *host) answers() (*bufio.Reader, error) {
	in := bufio.NewReader(h.c.App.Reader)
	f, ok := h.c.App.Reader.(*os.File)
	if !ok || !readable(f) {
		return in, nil
	}
	if _, err := in.Peek(1); err != nil {
		typed := command.Shell(append([]string{"knockd"}, os.Args[1:]...))
		return nil, command.Usagef("answer it on a terminal, or from a script: (sleep 5; CHECK && echo yes) | "+typed,
			"a trial needs an answer, and standard input is at its end: nothing was changed")
	}
	return in, nil
}

// readable reports whether a read would return at once, with bytes or with the end.
func readable(f *os.File) bool {
	at := []unix.PollFd{{Fd: int32(f.Fd()), Events: unix.POLLIN}}
	n, _ := unix.Poll(at, 0) // an error is no answer: the trial waits for one
	return n > 0
}

// confirm asks whether the new rules may stay. No answer is a no. Nothing that takes time
// comes between the start of the guard's clock and the question; shadows are said when they
// are known. What is said at the end is what the guard did.
func (h *host) confirm(guard *server.Guard, patience time.Duration, answers *bufio.Reader, shadows func() []string) error {
	h.words.Note("the old rules come back in %s unless you write y or yes", protocol.FormatDuration(patience))
	answer, notes := make(chan string, 1), make(chan []string, 1)
	go func() {
		line, _ := answers.ReadString('\n') // its end is an answer too
		answer <- line
	}()
	go func() { notes <- shadows() }()
	h.beside("the old rules would not stay: it installs the files again")
	warn := func(all []string) {
		for _, note := range all {
			h.words.Warning("%s", h.withFile(note))
		}
		notes = nil
	}
	for {
		select {
		case all := <-notes:
			warn(all)
			continue
		case line := <-answer:
			if !server.Confirmed(line) {
				break
			}
			kept, err := guard.Keep()
			if err != nil {
				return notUndone(err)
			}
			if !kept {
				return notKept("not kept, the answer came too late", guard)
			}
			if notes != nil {
				warn(<-notes)
			}
			h.words.Note("kept")
			return nil
		case <-guard.Done():
		case <-h.c.Context.Done():
		}
		if err := guard.Undo(); err != nil {
			return notUndone(err)
		}
		return notKept("not confirmed", guard)
	}
}

func notUndone(err error) error {
	return &command.Error{Code: command.Failed, Err: err, Hint: "what is installed now says: knockd status"}
}

// notKept prints why the old rules are back.
func notKept(why string, guard *server.Guard) error {
	if err := guard.Lost(); err != nil {
		why = err.Error()
	}
	return &command.Error{Code: command.Failed, Err: errors.New(why + ": the old rules are back")}
}
