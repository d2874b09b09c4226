package main

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// The real main runs in scripts: as "knock", in a process of its own.
func TestMain(m *testing.M) {
	testscript.Main(inLab(m), map[string]func(){"knock": main})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			open, err := listen()
			if err != nil {
				return err
			}
			env.Defer(func() { open.Close() })
			shut, err := listen()
			if err != nil {
				return err
			}
			shut.Close()
			env.Setenv("OPEN", port(open))
			env.Setenv("SHUT", port(shut))
			env.Setenv("GORACE", "atexit_sleep_ms=0") // else each knock takes a second under -race
			env.Setenv("KNOCK_CONFIG", env.WorkDir)
			env.Setenv("XDG_STATE_HOME", filepath.Join(env.WorkDir, "state"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"expand": expand},
	})
}

// expand replaces $NAME in files of a script, which testscript leaves alone.
func expand(ts *testscript.TestScript, neg bool, files []string) {
	for _, file := range files {
		text := os.Expand(ts.ReadFile(file), ts.Getenv)
		ts.Check(os.WriteFile(ts.MkAbs(file), []byte(text), 0o600))
	}
}

// listen accepts connections on loopback and closes them.
func listen() (net.Listener, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	return l, nil
}

func port(l net.Listener) string { return strconv.Itoa(l.Addr().(*net.TCPAddr).Port) }
