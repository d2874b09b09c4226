package keys

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/rogpeppe/go-internal/lockedfile"
	"golang.org/x/sys/unix"

	"knockkit/internal/files"
)

// lock keeps other processes out until unlock is called. It makes the file and its folder where they are
// missing. Only the file's owner may open it, as a reader can hold a lock too. The error is a
// [*files.ExposedError] where others can write the folder: a link in the file's place leads anywhere.
func lock(path string) (unlock func(), err error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if _, err := files.Check(dir); err != nil {
		return nil, err
	}
	f, err := lockedfile.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	if err := f.Chmod(0o600); err != nil { // an older one
		return nil, errors.Join(err, f.Close())
	}
	return func() { _ = f.Close() }, nil
}
