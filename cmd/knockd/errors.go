package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"knockkit/internal/command"
	"knockkit/internal/files"
	"knockkit/internal/say"
	"knockkit/protocol/format"
	"knockkit/server"
)

// usage is an error of reading the configuration, which trying again does not
// help against. Profiles are secrets: that a file is closed to others is no fault of it.
func usage(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return &command.Error{Code: command.Privilege, Err: err, Hint: asRoot()}
	}
	e := &command.Error{Code: command.Usage, Err: err}
	if wrong := new(*format.SyntaxError); errors.As(err, wrong) {
		e.Hint = (*wrong).Hint
	}
	if t := todo(err); t != "" {
		e.Hint = t
	}
	return e
}

// unread is the error for files that this user may not read; nil: there are none.
func unread(broken []server.BrokenFile) error {
	var names []string
	for _, b := range broken {
		if b.Unread() {
			names = append(names, b.Profile)
		}
	}
	if len(names) == 0 {
		return nil
	}
	return &command.Error{Code: command.Privilege, Err: fmt.Errorf("the files of these profiles may not be read: %s", say.Names(names)), Hint: asRoot()}
}

// todo says how to mend a file that others can write; "" for another error.
func todo(err error) string {
	if exposed := new(files.ExposedError); errors.As(err, &exposed) {
		return exposed.Todo
	}
	return ""
}

// asRoot is the hint to type the same again as root.
func asRoot() string {
	return "run it as root: sudo " + command.Shell(append([]string{"knockd"}, os.Args[1:]...))
}

// retyped is the command line as it was typed, without some of its words, and with others behind it.
func retyped(without []string, with ...string) string {
	line := slices.Clone(os.Args[1:])
	for _, word := range without {
		if i := slices.Index(line, word); i >= 0 {
			line = slices.Delete(line, i, i+1)
		}
	}
	return command.Shell(slices.Concat([]string{"knockd"}, line, with))
}

// explainError gives an error of the server its exit code and advice.
func explainError(err error) error {
	if err == nil {
		return nil
	}
	e := &command.Error{Code: command.Failed, Err: err}
	var (
		check   *server.CheckError
		signed  *server.SignedError
		lockout *server.LockoutError
		address *server.AddressError
		tool    *server.ToolError
		busy    *server.LockError
	)
	switch {
	case errors.Is(err, server.ErrPrivilege), errors.Is(err, fs.ErrPermission):
		e.Code = command.Privilege
		e.Hint = asRoot()
	case errors.As(err, &lockout):
		e.Code = command.Usage
		e.Hint = "add --try 30s to have the old rules back unless you confirm, or --allow-lockout if you are sure"
		if slices.Contains(os.Args, "run") {
			e.Hint = "install them first with a way back: knockd install --try 30s; or add --allow-lockout if you are sure"
		}
	case errors.As(err, &busy) && busy.Owner.Trial():
		e.Hint = "answer the trial, or wait for its end; grant, revoke and unban work meanwhile"
	case errors.As(err, &signed):
		e.Code = command.Usage
		e.Hint = `set backend = "nftables" in knockd.toml; install then moves what is installed there, with its leases`
	case errors.As(err, &check), errors.As(err, &address):
		e.Code = command.Usage
	case errors.Is(err, server.ErrNotInstalled):
		e.Code = command.Usage
		e.Hint = "see: knockd status"
	case errors.As(err, &tool) && strings.HasPrefix(tool.Line, "-A KNOCKD-OPEN-"), errors.As(err, &tool) && strings.HasPrefix(tool.Line, "-A KNOCKD-PRE-OPEN-"):
		e.Code = command.Usage
		e.Err = fmt.Errorf("%w; nothing was changed", err)
		e.Hint = "the rule comes from `[opened]` of the profile that the chain is named after"
	case errors.As(err, &tool):
		e.Err = fmt.Errorf("%w; nothing was changed", err)
	}
	return e
}

// locatedError is an error with the first mistake of a file.
type locatedError struct {
	err     error
	file    string // "": the message names it
	line    int
	message string
}

func (e *locatedError) Error() string {
	if e.file == "" {
		return fmt.Sprintf("%v: %s", e.err, e.message)
	}
	return fmt.Sprintf("%v: %s:%d: %s", e.err, e.file, e.line, e.message)
}

func (e *locatedError) Unwrap() error { return e.err }
