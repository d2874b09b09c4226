package doctor

import (
	"cmp"
	"errors"
	"io/fs"
	"os"

	"knockkit/server/keys"
	"knockkit/server/service"
)

// whatKeys names the keys, where they could not be read.
const whatKeys = "the keys of signed profiles"

// readSigned reads what signed profiles need beside their rules.
func (f *facts) readSigned() {
	if len(f.signed()) == 0 {
		return
	}
	_, f.Service = service.Running()
	host, err := os.Hostname()
	if f.audience = cmp.Or(f.Settings.Audience, host); f.audience == "" {
		f.miss("the host's name", err)
	}
	f.Keys, f.BrokenKeys, err = keys.FolderOf(f.Folder).List()
	f.miss(whatKeys, err)
	for _, broken := range f.BrokenKeys {
		if errors.Is(broken, fs.ErrPermission) {
			f.miss(whatKeys, broken)
			break
		}
	}
}
