package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
)

// laboratory runs the tests where hosts can be made.
type laboratory struct{ m *testing.M }

func inLab(m *testing.M) laboratory { return laboratory{m} }

func (l laboratory) Run() int {
	entry, err := lab.Enter(context.Background())
	if err == nil && !entry.Here {
		return entry.Code
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
	}
	return l.m.Run()
}

// laptop is a host on which the real program runs.
type laptop struct {
	t      *testing.T
	host   *lab.Host
	config string // its folder
}

// newLaptop returns a host with profiles, given as name and text.
func newLaptop(t *testing.T, h *lab.Host, profiles map[string]string) *laptop {
	t.Helper()
	l := &laptop{t, h, t.TempDir()}
	if err := os.Mkdir(filepath.Join(l.config, "profiles"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range profiles {
		l.write(filepath.Join("profiles", name+".toml"), text)
	}
	return l
}

// write makes a file in the configuration folder and returns its path.
func (l *laptop) write(name, text string) string {
	l.t.Helper()
	path := filepath.Join(l.config, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		l.t.Fatal(err)
	}
	return path
}

// program is a running knock.
type program struct {
	cmd    *exec.Cmd
	wait   func() error
	stdout *buffer
	stderr *buffer
}

// start starts knock on the host.
func (l *laptop) start(args ...string) *program {
	l.t.Helper()
	return l.startWith(nil, args...)
}

func (l *laptop) startWith(stdin io.Reader, args ...string) *program {
	l.t.Helper()
	self, err := os.Executable()
	if err != nil {
		l.t.Fatal(err)
	}
	p := &program{stdout: new(buffer), stderr: new(buffer)}
	p.cmd = &exec.Cmd{Path: self, Args: append([]string{"knock"}, args...), Env: l.env(), Stdin: stdin, Stdout: p.stdout, Stderr: p.stderr}
	p.wait = labtest.Start(l.t, l.host, p.cmd)
	return p
}

// run runs knock to its end and returns its exit code.
func (l *laptop) run(args ...string) (p *program, code int) {
	l.t.Helper()
	p = l.start(args...)
	_ = p.wait() // the exit code says the same
	return p, p.cmd.ProcessState.ExitCode()
}

func (l *laptop) env() []string {
	return append(os.Environ(), "KNOCK_CONFIG="+l.config, "GORACE=atexit_sleep_ms=0", "HOME="+l.config, "XDG_STATE_HOME=")
}

// buffer is what a process has written so far.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// says waits for words.
func (b *buffer) says(words string) error {
	if text := b.String(); !strings.Contains(text, words) {
		return fmt.Errorf("%q is not in %q", words, text)
	}
	return nil
}
