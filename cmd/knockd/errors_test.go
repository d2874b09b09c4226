package main

import (
	"errors"
	"io/fs"
	"strings"
	"syscall"
	"testing"
	"time"

	"knockkit/internal/command"
	"knockkit/server"
)

// TestAFileThatIsClosedToTheUserNeedsAPrivilege: /etc/knockd is root's alone, so this is
// what everybody meets who forgets sudo.
func TestAFileThatIsClosedToTheUserNeedsAPrivilege(t *testing.T) {
	closed := &fs.PathError{Op: "open", Path: "/etc/knockd/profiles", Err: syscall.EACCES}
	for name, err := range map[string]error{
		"the folder": usage(closed),
		"a profile":  (&host{}).profileError(closed, "mysql"),
	} {
		var e *command.Error
		if !errors.As(err, &e) || e.Code != command.Privilege || !strings.HasPrefix(e.Hint, "run it as root: sudo knockd") {
			t.Errorf("%s: %#v", name, err)
		}
	}
	if e := new(command.Error); !errors.As(usage(fs.ErrNotExist), &e) || e.Code != command.Usage {
		t.Errorf("a missing file: %#v", e)
	}
}

// TestWhoWaitedInVainForATrialIsToldWhatWorksMeanwhile, and is not told so of another holder.
func TestWhoWaitedInVainForATrialIsToldWhatWorksMeanwhile(t *testing.T) {
	for does, want := range map[string]string{
		"install --try": "answer the trial, or wait for its end; grant, revoke and unban work meanwhile",
		"run":           "",
	} {
		e := new(command.Error)
		err := explainError(&server.LockError{Owner: server.Owner{PID: 812, Command: does, Left: 4 * time.Minute}})
		if !errors.As(err, &e) || e.Code != command.Failed || e.Hint != want || e.Error() != "another knockd (process 812, "+does+", 4m left) is changing the rules" {
			t.Errorf("%s: %v, hint %q", does, err, e.Hint)
		}
	}
}
