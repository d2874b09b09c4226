package command

import (
	"errors"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"

	"knockkit/protocol/format"
)

// TimeFlag is a flag for a length of time, as [ParseTime] reads it. [TimeOf] returns its value, and
// the context's String the text as it was typed.
func TimeFlag(name, usage string) *cli.GenericFlag {
	return &cli.GenericFlag{Name: name, Usage: usage, Value: new(timeValue)}
}

// TimeOf returns the value of a [TimeFlag]; 0 where it is not given.
func TimeOf(c *cli.Context, name string) time.Duration {
	if v, ok := c.Generic(name).(*timeValue); ok {
		return v.d
	}
	return 0
}

// ParseTime reads a length of time of a command line: as in a profile ("30s", "5m", "2d"), or a
// whole number of seconds. The error is a [*format.SyntaxError].
func ParseTime(text string) (time.Duration, error) {
	if n, err := strconv.ParseUint(text, 10, 32); err == nil {
		return time.Duration(n) * time.Second, nil
	}
	return format.ParseDuration(text)
}

type timeValue struct {
	text string
	d    time.Duration
}

func (v *timeValue) Set(text string) (err error) {
	v.text = text
	v.d, err = ParseTime(text)
	return err
}

func (v *timeValue) String() string { return v.text }

// timeError returns what is wrong with a flag's value, with the hint that package flag drops; nil
// where the flag is no [TimeFlag].
func timeError(f cli.Flag, name string) error {
	g, ok := f.(*cli.GenericFlag)
	if !ok {
		return nil
	}
	v, ok := g.Value.(*timeValue)
	if !ok {
		return nil
	}
	_, err := ParseTime(v.text)
	hint := "for example --" + name + " 30s"
	if wrong := new(*format.SyntaxError); errors.As(err, wrong) && (*wrong).Hint != "" {
		hint = (*wrong).Hint
	}
	return Usagef(hint, "--%s: %w", name, err)
}
