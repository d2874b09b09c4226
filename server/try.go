package server

import (
	"bufio"
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

	"knockkit/server/backend"
)

// GuardCommand is the hidden command by which the program runs itself as the
// guard of an `install --try`.
const GuardCommand = "try-guard"

// order is what the guard is told at its start, as one line of JSON.
type order struct {
	Backend string
	Texts   []backend.Text // the rules to put back
	Until   time.Time
}

// keep is the word that ends the guard's watch with the new rules in place.
const keep = "keep\n"

// Guard is a process of its own session that puts the old rules back unless it is
// told to keep the new ones in time: also when the terminal is lost, or when the
// process that started it is killed.
type Guard struct {
	cmd    *exec.Cmd
	orders io.WriteCloser
}

// startGuard starts the guard with the rules that are installed now: under the
// lock, which the guard keeps as well, and before the change.
func (s *Server) startGuard(ctx context.Context, lock *os.File, patience time.Duration) (*Guard, error) {
	saver, ok := s.backend.(Saver)
	if !ok {
		return nil, fmt.Errorf("--try with %s: %w", s.backend.Name(), backend.ErrUnsupported)
	}
	texts, err := saver.Save(ctx)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("/proc/self/exe", GuardCommand)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // no hangup from our terminal
	cmd.Stderr = os.Stderr
	cmd.ExtraFiles = []*os.File{lock}
	orders, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the guard: %w", err)
	}
	g := &Guard{cmd, orders}
	line, err := json.Marshal(order{s.backend.Name(), texts, time.Now().Add(patience)})
	if err != nil {
		return nil, err
	}
	if _, err := orders.Write(append(line, '\n')); err != nil {
		return nil, errors.Join(fmt.Errorf("telling the guard: %w", err), g.Wait())
	}
	return g, nil
}

// Keep tells the guard that all is well, and waits for its end.
func (g *Guard) Keep() error {
	_, err := io.WriteString(g.orders, keep)
	return errors.Join(err, g.orders.Close(), g.cmd.Wait())
}

// Undo lets the guard put the old rules back now, and waits until it has.
func (g *Guard) Undo() error {
	return errors.Join(g.orders.Close(), g.cmd.Wait())
}

// Wait waits until the guard has put the old rules back on its own.
func (g *Guard) Wait() error { return g.cmd.Wait() }

// RunGuard is the guard's own process: orders come on its standard input. It
// reports whether it put the old rules back.
func RunGuard(ctx context.Context, orders io.Reader, open func(name string) (Backend, error)) (undone bool, err error) {
	in := bufio.NewReader(orders)
	line, err := in.ReadBytes('\n')
	if err != nil {
		return false, nil // whoever started us went away before anything was changed
	}
	var o order
	if err := json.Unmarshal(line, &o); err != nil {
		return false, fmt.Errorf("orders: %w", err)
	}
	b, err := open(o.Backend)
	if err != nil {
		return false, err
	}
	saver, ok := b.(Saver)
	if !ok {
		return false, backend.ErrUnsupported
	}
	word := make(chan string, 1)
	go func() {
		text, _ := in.ReadString('\n')
		word <- text
	}()
	select {
	case text := <-word:
		if text == keep {
			return false, nil
		}
	case <-time.After(time.Until(o.Until)):
	}
	return true, saver.PutBack(ctx, o.Texts)
}

// Confirmed reads an answer: whether somebody wrote that the change is to stay.
func Confirmed(answer string) bool {
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes", "keep":
		return true
	}
	return false
}
