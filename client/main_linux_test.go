package client_test

import (
	"fmt"
	"os"
	"testing"

	"knockkit/internal/lab/labtest"
)

// childMark names what this program is to do instead of running tests: a test
// starts it again inside a lab host, where all its goroutines are.
const childMark = "KNOCK_TEST_CHILD"

func TestMain(m *testing.M) {
	if what := os.Getenv(childMark); what != "" {
		if err := children()[what](); err != nil {
			fmt.Fprintln(os.Stderr, what+":", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	labtest.Main(m)
}

func children() map[string]func() error {
	return map[string]func() error{"database": databaseChild, "burst": burstChild, "sources": sourcesChild}
}
