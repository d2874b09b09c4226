//go:build linux

package stage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"knockkit/internal/lab"
)

// Daemon is a program of others that runs on a host, with a folder of its own for
// what it reads and writes.
type Daemon struct {
	Dir string

	cmd  *exec.Cmd
	done chan error
	log  *os.File
}

// capturing is how long a daemon may take until it captures packets.
const capturing = 5 * time.Second

// startDaemon starts a program with files in a new folder; the word DIR in its
// arguments and files stands for that. It returns when the program captures
// packets.
func startDaemon(ctx context.Context, h *lab.Host, files map[string]string, name string, args ...string) (_ *Daemon, err error) {
	d := &Daemon{done: make(chan error, 1)}
	if d.Dir, err = os.MkdirTemp("", "bench"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.Stop())
		}
	}()
	for file, text := range files {
		if err := os.WriteFile(filepath.Join(d.Dir, file), []byte(strings.ReplaceAll(text, "DIR", d.Dir)), 0o600); err != nil {
			return nil, err
		}
	}
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "DIR", d.Dir)
	}
	if d.log, err = os.Create(filepath.Join(d.Dir, "output")); err != nil {
		return nil, err
	}
	d.cmd = exec.Command(name, args...)
	d.cmd.Stdout, d.cmd.Stderr = d.log, d.log
	if err := h.Start(d.cmd); err != nil {
		d.cmd = nil
		return nil, err
	}
	go func() { d.done <- d.cmd.Wait() }()
	return d, d.ready(ctx)
}

// ready waits until the daemon's namespace has a packet socket.
func (d *Daemon) ready(ctx context.Context) error {
	sockets := fmt.Sprintf("/proc/%d/net/packet", d.cmd.Process.Pid)
	for deadline := time.Now().Add(capturing); time.Now().Before(deadline); {
		select {
		case err := <-d.done:
			d.done <- err
			output, _ := os.ReadFile(d.log.Name())
			return fmt.Errorf("%s ended at once: %w: %s", d.cmd.Path, err, strings.TrimSpace(string(output)))
		default:
		}
		if text, err := os.ReadFile(sockets); err == nil && strings.Count(string(text), "\n") > 1 {
			return nil
		}
		if err := wait(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
	return fmt.Errorf("%s does not capture packets after %v", d.cmd.Path, capturing)
}

// Stop ends the daemon, and removes its folder.
func (d *Daemon) Stop() error {
	var err error
	if d.cmd != nil {
		_ = d.cmd.Process.Signal(syscall.SIGTERM) // it may have ended already
		select {
		case <-d.done:
		case <-time.After(2 * time.Second):
			err = d.cmd.Process.Kill()
			<-d.done
		}
	}
	if d.log != nil {
		err = errors.Join(err, d.log.Close())
	}
	return errors.Join(err, os.RemoveAll(d.Dir))
}

// CPU is the processor time that the daemon itself has had, all its threads.
func (d *Daemon) CPU() (time.Duration, error) {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", d.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	total := time.Duration(0)
	for _, task := range tasks {
		text, err := os.ReadFile(task)
		if err != nil {
			return 0, err
		}
		ns, err := strconv.ParseInt(strings.Fields(string(text) + " ?")[0], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", task, err)
		}
		total += time.Duration(ns)
	}
	return total, nil
}
