package doctor

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"knockkit/internal/files"
	"knockkit/protocol/format"
	"knockkit/server/service"
)

// whatKeys names the keys, where they could not be read.
const whatKeys = "the keys of signed profiles"

// readSigned reads what signed profiles need beside their rules.
func (f *facts) readSigned() {
	_, f.Service = service.Running()
	host, err := os.Hostname()
	if f.audience = cmp.Or(f.Settings.Audience, host); f.audience == "" {
		f.miss("the host's name", err)
	}
	for _, p := range f.signed() {
		keys, err := readKeys(filepath.Join(f.Folder, "keys", p.Name), p.Name)
		f.miss(whatKeys, err)
		f.Keys = append(f.Keys, keys...)
	}
}

// readKeys reads the keys of a profile. That there is no folder is no error.
func readKeys(dir, profile string) (all []Key, err error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".key") {
			continue
		}
		k := Key{Profile: profile, File: filepath.Join(dir, e.Name())}
		if k.Exposed, k.Err = files.Check(k.File); k.Err == nil {
			k.Key, k.Err = readKey(k.File, profile)
		}
		if errors.Is(k.Err, fs.ErrPermission) {
			return all, k.Err
		}
		all = append(all, k)
	}
	return all, err
}

// readKey reads a file, whose place and content have to agree.
func readKey(file, profile string) (*format.KeyFile, error) {
	text, err := files.Read(file, format.MaxKeyFileSize)
	if err != nil {
		return nil, err
	}
	k, diagnostics := format.ParseKeyFile(file, text)
	if k == nil {
		return nil, diagnostics
	}
	user, _, _ := strings.Cut(filepath.Base(file), ".")
	if k.Profile != profile || k.User != user {
		return nil, fmt.Errorf("it is the key of %s for profile %s, and its place says %s for %s", k.User, k.Profile, user, profile)
	}
	return k, nil
}
