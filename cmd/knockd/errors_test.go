package main

import (
	"errors"
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"knockkit/internal/command"
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
