package coexist

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"knockkit/internal/lab/labtest"
)

func TestMain(m *testing.M) {
	// Most of the time these tests wait for tools, not for a processor.
	_ = flag.Set("test.parallel", "6")
	labtest.Main(m)
}

// knockd returns the path of the program. It is built once, below the folder that
// the first test to ask makes, which lasts as long as the tests.
var knockd = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "coexist-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "knockd")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", path, "../../cmd/knockd").CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return path, nil
})
