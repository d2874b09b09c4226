package files

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// Write makes a file that only its owner may read (mode 0600), and the folders above it (0700) where
// they are missing. A reader sees the whole text or nothing of it. Without replace, the error is
// [io/fs.ErrExist] where there is such a file, which stays as it is.
func Write(path string, text []byte, replace bool) error {
	return write(path, text, replace, true)
}

// WriteState is [Write], which replaces, for what may be lost when the machine crashes: it does not
// wait for the disk.
func WriteState(path string, text []byte) error { return write(path, text, true, false) }

func write(path string, text []byte, replace, sync bool) error {
	err := writeBeside(path, text, replace, sync)
	// The name of the file beside it says nothing, and is another one each time.
	if failed := new(fs.PathError); errors.As(err, &failed) && filepath.Dir(failed.Path) == filepath.Dir(path) {
		failed.Path = path
	}
	if failed := new(os.LinkError); errors.As(err, &failed) {
		return &fs.PathError{Op: "write", Path: path, Err: failed.Err}
	}
	return err
}

func writeBeside(path string, text []byte, replace, sync bool) error {
	dir, name := filepath.Dir(path), filepath.Base(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, "."+name+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(text)
	if err == nil && sync {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if replace {
		err = os.Rename(f.Name(), path)
	} else {
		err = os.Link(f.Name(), path) // a link, unlike a renaming, replaces nothing
	}
	if err == nil && sync {
		syncFolder(dir)
	}
	return err
}

// Remove removes a file, so that it does not come back when the machine crashes.
func Remove(path string) error {
	err := os.Remove(path)
	if err == nil {
		syncFolder(filepath.Dir(path))
	}
	return err
}

// syncFolder waits until the names in a folder are on the disk, where the system can say so.
func syncFolder(dir string) {
	if f, err := os.Open(dir); err == nil {
		_ = f.Sync()
		_ = f.Close()
	}
}
