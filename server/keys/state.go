package keys

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"time"

	"knockkit/internal/files"
)

// Store is what is kept on disk about the keys of a host. Several processes may use it.
type Store struct{ Dir string }

// stateFile is the file in the folder; a lock is beside it.
const stateFile = "signed.json"

// maxState is how many bytes of the state are read: far more than 65,535 keys need.
const maxState = 16 << 20

// mostSlot is one of the year 10,000: behind it, sums of slots and times overflow.
const mostSlot = 1 << 33

// Use is when a key last opened its profile, and from where.
type Use struct {
	At   time.Time `json:"at"`
	From string    `json:"from"` // an address, or a prefix where leases are for prefixes
}

// state is the text of the file.
type state struct {
	Slot int64          `json:"slot"` // the highest of which a kernel had tokens
	Used map[string]Use `json:"used"` // by the ID of the key
}

// StoreOf returns the state of a configuration folder: in $KNOCKD_STATE, else in systemd's
// $STATE_DIRECTORY, else in /var/lib/knockd for /etc/knockd, else in the folder "state" in it.
func StoreOf(config string, getenv func(string) string) Store {
	for _, variable := range []string{"KNOCKD_STATE", "STATE_DIRECTORY"} {
		if dir := getenv(variable); dir != "" {
			return Store{dir}
		}
	}
	if filepath.Clean(config) == "/etc/knockd" {
		return Store{"/var/lib/knockd"}
	}
	return Store{filepath.Join(config, "state")}
}

// File is where the state is.
func (s Store) File() string { return filepath.Join(s.Dir, stateFile) }

// Highest returns the highest slot of which a kernel had tokens, 0 where there is no record. A broken one
// is an error: what it said is not known.
func (s Store) Highest() (int64, error) {
	is, err := s.read()
	return is.Slot, err
}

// LastUses returns when keys were used last, by their IDs.
func (s Store) LastUses() (map[string]Use, error) {
	is, err := s.read()
	return is.Used, err
}

func (s Store) read() (is state, err error) {
	text, err := files.Read(s.File(), maxState)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return is, nil
	case err != nil:
		return is, err
	}
	err = json.Unmarshal(text, &is)
	if err == nil && (is.Slot < 0 || is.Slot > mostSlot) {
		err = fmt.Errorf("the slot %d", is.Slot)
	}
	if err != nil {
		return state{}, fmt.Errorf("%s is broken (%w): remove it", s.File(), err)
	}
	return is, nil
}

// Record writes the highest slot; a higher one stays. It is on the disk when this returns.
func (s Store) Record(slot int64) error {
	return s.change(func(is *state) bool {
		higher := slot > is.Slot
		is.Slot = max(is.Slot, slot)
		return higher
	})
}

// Used writes last uses; later ones stay.
func (s Store) Used(last map[string]Use) error {
	return s.change(func(is *state) (changed bool) {
		if is.Used == nil {
			is.Used = map[string]Use{}
		}
		for id, use := range last {
			if use.At.After(is.Used[id].At) {
				is.Used[id], changed = use, true
			}
		}
		return changed
	})
}

// Forget takes out the uses of keys that are not among the given IDs.
func (s Store) Forget(stay map[string]bool) error {
	return s.change(func(is *state) bool {
		before := len(is.Used)
		maps.DeleteFunc(is.Used, func(id string, _ Use) bool { return !stay[id] })
		return len(is.Used) < before
	})
}

// change changes the file while no other process does. The error is a [*files.ExposedError] where others
// can write the folder.
func (s Store) change(do func(*state) (changed bool)) error {
	unlock, err := lock(filepath.Join(s.Dir, "."+stateFile+".lock"))
	if err != nil {
		return err
	}
	defer unlock()
	is, err := s.read()
	if err != nil || !do(&is) {
		return err
	}
	text, err := json.MarshalIndent(is, "", "\t")
	if err != nil {
		return err
	}
	return files.Write(s.File(), append(text, '\n'), true)
}
