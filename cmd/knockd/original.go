package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"knockkit/internal/command"
	"knockkit/internal/config"
	"knockkit/internal/files"
	"knockkit/protocol"
)

// original is a file of the configuration while a copy of it is edited. It is locked against a second edit.
type original struct {
	path string // behind links
	file *os.File
	info os.FileInfo
	text []byte
}

// errChanged says that somebody who did not ask for the lock has changed the file.
var errChanged = errors.New("somebody else has changed the file meanwhile")

// openOriginal locks the file of an entry, as long as it is the one that was read.
func openOriginal(e config.Entry) (*original, error) {
	path, err := filepath.EvalSymlinks(e.File)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, usage(err)
	}
	o := &original{path: path, file: f, text: e.Text}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); errors.Is(err, unix.EWOULDBLOCK) {
		return nil, errors.Join(&command.Error{Code: command.Failed, Err: fmt.Errorf("somebody else is editing %s", e.File), Hint: "try again when they have ended"}, f.Close())
	} else if err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
	}
	if o.info, err = f.Stat(); err == nil {
		err = o.changed()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", e.File, err), f.Close())
	}
	return o, nil
}

// changed returns [errChanged] unless the file is there as it was read.
func (o *original) changed() error {
	info, err := os.Stat(o.path)
	if err != nil || !os.SameFile(info, o.info) {
		return errChanged
	}
	if text, err := files.Read(o.path, protocol.MaxProfileSize); err != nil || !bytes.Equal(text, o.text) {
		return errChanged
	}
	return nil
}

// replace puts a text in the file's place, with its mode and owner, unless it was changed: a reader
// sees the old text or the new one.
func (o *original) replace(text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(o.path), ".edited-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	stat := o.info.Sys().(*syscall.Stat_t)
	_, err = f.Write(text)
	err = errors.Join(err, f.Chown(int(stat.Uid), int(stat.Gid)), f.Chmod(o.info.Mode()), f.Sync(), f.Close())
	if err == nil {
		err = o.changed()
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), o.path)
}

// Close gives the lock up.
func (o *original) Close() { o.file.Close() }
