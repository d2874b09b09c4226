package config

import (
	"path/filepath"

	"knockkit/internal/files"
	"knockkit/protocol/format"
)

// KeyFile is where the key of a client's signed profile is, or would be made.
func (f Folders) KeyFile(name string) string { return f.file(filepath.Join("keys", name+".key")) }

// KeyReadable reports whether everybody can read a key in the first folder, which is for one user: see
// [Entry.Readable].
func (f Folders) KeyReadable(name string) bool {
	path := f.KeyFile(name)
	readable, err := f.check(path)
	return err == nil && readable && !f.Lax && path == filepath.Join(f.Dirs[0], "keys", name+".key")
}

// Key reads the key of a client's signed profile. Errors: that of the file system, which is
// [io/fs.ErrNotExist] where there is none; a [*files.ExposedError] where others can write it; a
// [*BrokenError] where its text is wrong.
func (f Folders) Key(name string) (*format.KeyFile, error) {
	path := f.KeyFile(name)
	if _, err := f.check(path); err != nil && !f.Lax {
		return nil, err
	}
	text, err := files.Read(path, format.MaxKeyFileSize)
	if err != nil {
		return nil, err
	}
	key, problems := format.ParseKeyFile(path, text)
	if problems.HasErrors() {
		return nil, &BrokenError{name, problems}
	}
	return key, nil
}
