//go:build linux

package labtest

import (
	"context"
	"fmt"
	"os"
	"testing"

	"knockkit/internal/lab"
)

// Main runs a package's tests where hosts can be made: see [lab.Enter]. It does
// not return. Where that is impossible the tests run all the same, and those that
// need a host skip or fail.
//
// The second process has the arguments of the first, so -timeout bounds it too. What is
// to be done after the tests is given as functions.
func Main(m *testing.M, after ...func()) {
	entry, err := lab.Enter(context.Background())
	if err == nil && !entry.Here {
		os.Exit(entry.Code)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
	}
	code := m.Run()
	for _, f := range after {
		f()
	}
	os.Exit(code)
}
