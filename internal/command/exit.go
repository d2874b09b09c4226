package command

import (
	"context"
	"errors"
	"fmt"

	"knockkit/internal/say"
)

// The exit codes of both programs.
const (
	Done      = 0
	Failed    = 1
	Usage     = 2 // wrong words, or a wrong configuration: trying again will not help
	NotOpen   = 3 // knocked, but it did not open
	Privilege = 4 // needs a permission; the hint says which
)

// Error is an error with its exit code and advice. A nil Err prints nothing:
// the words were said already, or the code is that of another program.
type Error struct {
	Code   int
	Err    error
	Detail string // lines shown as they are, above the error: diagnostics
	Hint   string // one line of advice or several; "" for none
}

func (e *Error) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("exit %d", e.Code)
	}
	return e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// Usagef returns a usage error with a hint ("" for none). The format may wrap
// with %w.
func Usagef(hint, format string, args ...any) *Error {
	return &Error{Code: Usage, Err: fmt.Errorf(format, args...), Hint: hint}
}

// Report says err to a person and returns the program's exit code for it.
func Report(words *say.Printer, err error) int {
	if err == nil {
		return Done
	}
	var e *Error
	switch {
	case errors.As(err, &e):
		if e.Err != nil {
			words.Block(e.Detail)
			if list, ok := e.Err.(interface{ List() []error }); ok {
				for _, one := range list.List() {
					words.Error(one)
				}
			} else {
				words.Error(err)
			}
		}
		words.Hint(e.Hint)
		return e.Code
	case errors.Is(err, context.Canceled):
		words.Error(errors.New("interrupted"))
		return Failed
	}
	words.Error(err)
	return Failed
}
