package docs

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
	labtest.Main(m, func() { os.RemoveAll(built) })
}

// built is the folder of the program; "" before anybody asked for it.
var built string

// knockd builds the program once, and returns its path.
var knockd = sync.OnceValues(func() (path string, err error) {
	if built, err = os.MkdirTemp("", "coexist-"); err != nil {
		return "", err
	}
	path = filepath.Join(built, "knockd")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", path, "../../cmd/knockd").CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return path, nil
})
