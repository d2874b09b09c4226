package config

import (
	"path/filepath"

	"knockkit/internal/files"
	"knockkit/protocol/format"
)

// Key reads the key of a client's signed profile.
func (f Folders) Key(name string) (*format.KeyFile, error) {
	path := f.file(filepath.Join("keys", name+".key"))
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
