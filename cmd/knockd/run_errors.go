package main

import "fmt"

// placedError is an error with the first mistake of a file.
type placedError struct {
	err     error
	file    string // "": the message names it
	line    int
	message string
}

func (e *placedError) Error() string {
	if e.file == "" {
		return fmt.Sprintf("%v: %s", e.err, e.message)
	}
	return fmt.Sprintf("%v: %s:%d: %s", e.err, e.file, e.line, e.message)
}

func (e *placedError) Unwrap() error { return e.err }
