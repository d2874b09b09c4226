package service

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"knockkit/server"
	"knockkit/server/events"
)

// spoolFile has what operators have done while the service of a fleet did not run, an act on each line, in
// the folder of the fleet's store.
const spoolFile = "acts"

// spooled is a line of it.
type spooled struct {
	Time time.Time  `json:"time"`
	Act  events.Act `json:"act"`
}

// Spool keeps acts for the service of a fleet, which tells the other nodes of them when it starts. The
// caller has the lock.
func Spool(folder string, now time.Time, acts []events.Act) error {
	var lines bytes.Buffer
	out := json.NewEncoder(&lines)
	for _, a := range acts {
		_ = out.Encode(spooled{now, a}) // these types have no errors
	}
	if err := ownFolder(folder); err != nil {
		return err
	}
	file, err := os.OpenFile(filepath.Join(folder, spoolFile), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(lines.Bytes())
	return errors.Join(err, file.Close())
}

// takeSpooled says what operators have done meanwhile.
func (m *member) takeSpooled(ctx context.Context) error {
	path := filepath.Join(m.fleet.Config().Store, spoolFile)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	lock, err := server.TakeLock(ctx)
	if err != nil {
		return err
	}
	defer lock.Release()
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	for line := range bytes.Lines(text) {
		var s spooled
		if err := json.Unmarshal(line, &s); err != nil {
			m.Log.Warn("fleet: what a command has done cannot be read", "file", path, "err", err)
			continue
		}
		m.act(s.Time, s.Act)
	}
	return os.Remove(path)
}
