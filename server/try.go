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
	"knockkit/internal/kernel/claim"
)

// Guard is a process of its own session that puts the old rules back unless it is told in
// time to keep the new ones: also when the terminal is lost, or when the process that
// started it is killed. It alone decides, and says what it did. While it waits, nobody else
// changes what is installed; leases are given and ended as ever.
//
// Two pipes join the two processes. The write end of each is also kept open by the tools
// that its process starts, so that its end of file means: that process and its tools are
// gone, and nothing more is committed by them.
type Guard struct {
	cmd     *exec.Cmd
	orders  *os.File
	done    chan struct{} // closed when the guard has ended
	told    []string      // what it was told of leases, before it put the old rules back
	answer  string        // its last word; "": none
	ended   error         // how it ended
	lasts   time.Duration // from the end of the commit
	install *claim.Claim
	putBack func() error // does the guard's work in this process
	kept    func()       // tells that the change stays
}

// undoPatience is how long an undo waits for the lock. Whoever gives or ends leases has it for some
// seconds at most, with 1,000 profiles.
const undoPatience = 10 * time.Second

// startGuard starts the guard with the rules that were read, before the change. It takes over the
// right to change what is installed, and leaves that to commit to its caller.
func (s *Server) startGuard(ctx context.Context, r *Reading, lock *Lock, patience time.Duration) (*Guard, error) {
	saved, err := r.Save()
	if err != nil {
		return nil, err
	}
	if _, err := lock.install.Told(); err != nil { // what it was told while it waited is in what was read
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
	g := &Guard{cmd: exec.Command("/proc/self/exe", GuardCommand), orders: orders, done: make(chan struct{}), lasts: patience, install: lock.install}
	ctx = context.WithoutCancel(ctx)
	g.putBack = func() error {
		return s.undoing(ctx, func() error {
			return s.undo(ctx, saved, g.install, func(texts []string) []string { return append(g.told, texts...) })
		})
	}
	g.cmd.Args[0] = "knockd"
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // no hangup from our terminal
	g.cmd.Stdin, g.cmd.Stderr = theirs, os.Stderr
	g.cmd.ExtraFiles = []*os.File{lock.install.File(), replies}
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
		all, _ := io.ReadAll(in) // nothing, if the guard was killed
		for line := range strings.Lines(string(all)) {
			if line = strings.TrimSuffix(line, "\n"); strings.HasPrefix(line, toldBegins) {
				g.told = append(g.told, line)
			} else {
				g.answer = line
			}
		}
		g.ended = g.cmd.Wait()
	}()
	lock.install = nil
	return g, nil
}

// undo puts back what was saved, but no lease that was ended while the trial lasted. all takes in
// what this process was told of that, and returns it with what was known before.
//
// Others may be giving leases, so it takes the lock. But old rules matter more than order: it does
// not wait for ever for a process that was stopped.
func (s *Server) undo(ctx context.Context, saved string, install *claim.Claim, all func(texts []string) []string, inherit ...*os.File) error {
	waiting, cancel := context.WithTimeout(ctx, undoPatience)
	defer cancel()
	lock, err := TakeLock(waiting)
	if err == nil {
		defer lock.Release()
	}
	told, _ := install.Told() // what cannot be read is nothing
	var ended []backend.Ended
	for _, text := range all(told) {
		var some []backend.Ended
		if json.Unmarshal([]byte(text), &some) == nil {
			ended = append(ended, some...)
		}
	}
	return s.putBack(ctx, saved, ended, append(append(lock.files(), install.File()), inherit...)...)
}

// putBack installs what was saved, without the leases that have ended.
func (s *Server) putBack(ctx context.Context, saved string, ended []backend.Ended, inherit ...*os.File) error {
	r, err := s.read(ctx, depthOfInstall)
	if err != nil {
		return err
	}
	_, err = s.commit(ctx, r, depthOfInstall, func(r *Reading) (backend.Plan, error) { return r.PutBack(saved, ended) }, inherit...)
	return err
}

// tellTrial tells the trial that is on, if there is one, which leases and bans are not to come back
// with the old rules. The caller has the lock. The error says that it cannot be told.
func tellTrial(ended []backend.Ended) error {
	err := claim.Tell(claim.Install, backend.JSON(ended))
	if err != nil {
		trial, _, _ := claim.OwnerOf(claim.Install)
		err = fmt.Errorf("a trial (%s) has to know of it for its undo: %w", trial, err)
	}
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

// committed gives the lock up, and starts the guard's clock. From then on other commands see until
// when the trial lasts. Where the guard is gone, the old rules are put back, and the error says so.
func (g *Guard) committed(lock *Lock) error {
	_ = g.install.EndsAt(time.Now().Add(g.lasts)) // else the commands that wait cannot say how long
	lock.Release()
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

// end ends the trial: what is installed may be changed again. It returns what the guard did. Where
// the guard did not say, the old rules are put back here. The caller does not have the lock.
func (g *Guard) end(word string) (kept bool, err error) {
	defer g.install.Close()
	_ = g.tell(word) // a guard that is gone has answered, or never will
	g.orders.Close()
	<-g.done
	switch g.answer {
	case wasKept:
		g.kept()
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
