package config

import (
	"errors"
	"path/filepath"

	"knockkit/internal/files"
	"knockkit/protocol/format"
)

// KeyEntry is the file with the key of a client's signed profile.
type KeyEntry struct {
	*format.KeyFile
	File    string
	Exposed error // of lax folders: a [*files.ExposedError]; of others that is the error of [Folders.Key]

	// Readable says that everybody can read a key in the first folder, as [Entry.Readable] does.
	Readable bool
}

// Key reads the key of the profile of that name. The entry has the file's path even with an error, which is
// [io/fs.ErrNotExist] where there is none, and a [*BrokenError] when its text is wrong.
func (f Folders) Key(name string) (KeyEntry, error) {
	e := KeyEntry{File: f.file(filepath.Join("keys", name+".key"))}
	readable, err := f.check(e.File)
	switch {
	case err != nil && !f.Lax:
		return e, err
	case errors.As(err, new(*files.ExposedError)):
		e.Exposed = err
	}
	text, err := files.Read(e.File, format.MaxKeyFileSize)
	if err != nil {
		return e, err
	}
	key, problems := format.ParseKeyFile(e.File, text)
	if key == nil {
		return e, &BrokenError{Name: name, Key: true, Diagnostics: problems}
	}
	e.KeyFile, e.Readable = key, readable && !f.Lax && e.File == f.NewKeyFile(name)
	return e, nil
}

// NewKeyFile is where the key of a profile of that name is made: in the first folder.
func (f Folders) NewKeyFile(name string) string {
	return filepath.Join(f.Dirs[0], "keys", name+".key")
}

// CheckKeys is [Folders.Check] for keys.
func (f Folders) CheckKeys() error { return f.checkDir(filepath.Dir(f.NewKeyFile("any"))) }
