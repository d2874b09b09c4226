package server

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"knockkit/internal/kernel/backend"
)

// Guard is a process of its own session that puts the old rules back unless it is told in
// time to keep the new ones: also when the terminal is lost, or when the process that
// started it is killed. It alone decides, and says what it did.
//
// Two pipes join the two processes. The write end of each is also kept open by the tools
// that its process starts, so that its end of file means: that process and its tools are
// gone, and nothing more is committed by them.
type Guard struct {
	cmd     *exec.Cmd
	orders  *os.File
	done    chan struct{} // closed when the guard has ended
	answer  string        // its last word; "": none
	ended   error         // how it ended
	lock    *Lock
	putBack func() error // does the guard's work in this process
}

// startGuard starts the guard with the rules that were read, before the change. It takes over
// the lock.
func (s *Server) startGuard(ctx context.Context, r *Reading, lock *Lock, patience time.Duration) (*Guard, error) {
	saved, err := r.Save()
	if err != nil {
		return nil, err
	}
	theirs, orders, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	answers, replies, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, theirs.Close(), orders.Close())
	}
	g := &Guard{cmd: exec.Command("/proc/self/exe", GuardCommand), orders: orders, done: make(chan struct{}), lock: lock}
	g.putBack = func() error { return s.putBack(context.WithoutCancel(ctx), saved, lock.file()) }
	g.cmd.Args[0] = "knockd"
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // no hangup from our terminal
	g.cmd.Stdin, g.cmd.Stderr = theirs, os.Stderr
	g.cmd.ExtraFiles = []*os.File{lock.file(), replies}
	err = g.cmd.Start()
	theirs.Close()
	replies.Close() // only the guard has them now, so that its end is seen
	if err != nil {
		return nil, errors.Join(fmt.Errorf("starting the guard: %w", err), orders.Close(), answers.Close())
	}
	_ = g.tell(order{s.backend.Name(), saved, patience}.line()) // a guard that is gone is not ready
	in := bufio.NewReader(answers)
	if word, _ := in.ReadString('\n'); word != ready {
		return nil, errors.Join(orders.Close(), answers.Close(), fmt.Errorf("the guard does not start: %w", cmp.Or(g.cmd.Wait(), io.EOF)))
	}
	go func() {
		defer close(g.done)
		defer answers.Close()
		word, _ := io.ReadAll(in) // nothing, if the guard was killed
		g.answer = strings.TrimSuffix(string(word), "\n")
		g.ended = g.cmd.Wait()
	}()
	return g, nil
}

// putBack installs what was saved.
func (s *Server) putBack(ctx context.Context, saved string, inherit ...*os.File) error {
	r, err := s.read(ctx, depthOfInstall)
	if err != nil {
		return err
	}
	_, err = s.commit(ctx, r, depthOfInstall, func(r *Reading) (backend.Plan, error) { return r.PutBack(saved) }, inherit...)
	return err
}

// giveUp ends a trial whose commit failed, if it was one.
func (g *Guard) giveUp(err error) error {
	if g == nil {
		return err
	}
	if undo := g.Undo(); undo != nil {
		return fmt.Errorf("%v; and %w", err, undo) // not the error of a commit that changed nothing
	}
	return err
}

func (o order) line() string {
	text, err := json.Marshal(o)
	if err != nil {
		panic(err) // strings and a number
	}
	return string(text) + "\n"
}

func (g *Guard) tell(word string) error {
	_, err := g.orders.WriteString(word)
	return err
}

// committed starts the guard's clock. Where the guard is gone, the old rules are put back, and the
// error says so.
func (g *Guard) committed() error {
	if g.tell(committed) == nil {
		return nil
	}
	if err := g.Undo(); err != nil {
		return err
	}
	return fmt.Errorf("%w: the old rules are back", g.Lost())
}

// Done is closed when the guard has ended: it has put the old rules back, or was killed.
// [Guard.Undo] then says which.
func (g *Guard) Done() <-chan struct{} { return g.done }

// Keep asks the guard to keep the new rules, and reports whether it does: else the old
// rules are back. An error says why they could not be put back.
func (g *Guard) Keep() (kept bool, err error) { return g.end(keep) }

// Undo has the old rules put back now, and waits until they are.
func (g *Guard) Undo() error {
	_, err := g.end(undo)
	return err
}

// Lost returns, after a trial, how the guard ended if it did not say what it did; else nil.
func (g *Guard) Lost() error {
	if g.answer != "" {
		return nil
	}
	return fmt.Errorf("the guard of this trial was ended (%w)", cmp.Or(g.ended, io.EOF))
}

// end ends the trial and gives the lock up. It returns what the guard did. Where the guard did not
// say, the old rules are put back here.
func (g *Guard) end(word string) (kept bool, err error) {
	defer g.lock.Release()
	_ = g.tell(word) // a guard that is gone has answered, or never will
	g.orders.Close()
	<-g.done
	switch g.answer {
	case wasKept:
		return true, nil
	case wasUndone:
		return false, nil
	case "":
		err = g.putBack()
	default:
		err = errors.New(g.answer)
	}
	if err != nil {
		err = fmt.Errorf("putting the old rules back: %w", err)
	}
	return false, err
}

// Confirmed reads an answer: whether somebody wrote that the change is to stay.
func Confirmed(answer string) bool {
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes", "keep":
		return true
	}
	return false
}
