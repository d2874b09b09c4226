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
// The second process has the arguments of the first, so -timeout bounds it too.
func Main(m *testing.M) {
	entry, err := lab.Enter(context.Background())
	if err == nil && !entry.Here {
		os.Exit(entry.Code)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
	}
	os.Exit(m.Run())
}
