package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/lockedfile"

	"knockkit/protocol"
)

// IndexFiles is the [Indexes] of all programs of a machine that have the same folder. It keeps what was
// handed out in a locked file for each key. Where a file cannot be used, it goes on as an
// [IndexMemory]: two programs may then send the same token, of which one opens. It must not be copied
// after its first use.
type IndexFiles struct {
	Dir string // made, with mode 0700, where it is missing

	mu     sync.Mutex
	memory IndexMemory
	failed error // why files are not used any more
}

// Err returns why files are not used; nil: they are, as far as it is known.
func (f *IndexFiles) Err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.failed
}

// lockPatience is how long a lock is waited for. Programs hold it for less than a millisecond; on a
// network's file system it may never come.
const lockPatience = 2 * time.Second

// maxIndexFile is how many bytes of a file are read: far more than it has.
const maxIndexFile = 4 << 10

// Next is as [Indexes] has it.
func (f *IndexFiles) Next(key *protocol.Key, slot int64) (index int, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failed != nil {
		return f.memory.Next(key, slot)
	}
	type result struct {
		after []usedSlot
		index int
		ok    bool
		err   error
	}
	taken := make(chan result, 1)
	path := filepath.Join(f.Dir, key.ID()+".json")
	go func() {
		var r result
		r.after, r.index, r.ok, r.err = takeFrom(path, slot)
		taken <- r
	}()
	var r result
	select {
	case r = <-taken:
	case <-time.After(lockPatience):
		r.err = fmt.Errorf("lock %s: it took more than %s", path, lockPatience)
	}
	if r.err != nil {
		f.failed = r.err
		return f.memory.Next(key, slot)
	}
	f.memory.mu.Lock()
	defer f.memory.mu.Unlock()
	f.memory.keep(key, r.after)
	return r.index, r.ok
}

// takeFrom is [take] from a file, which is made where it is missing. One that was damaged is as none.
func takeFrom(path string, slot int64) (after []usedSlot, index int, ok bool, err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, 0, false, err
	}
	file, err := lockedfile.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, 0, false, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no regular file", path)
	}
	if err != nil {
		return nil, 0, false, err
	}
	text, err := io.ReadAll(io.LimitReader(file, maxIndexFile))
	if err != nil {
		return nil, 0, false, err
	}
	var all []usedSlot
	if json.Unmarshal(text, &all) != nil {
		all = nil
	}
	if after, index, ok = take(all, slot); !ok {
		return after, 0, false, nil
	}
	text, _ = json.Marshal(after) // of these types nothing fails
	if _, err = file.WriteAt(text, 0); err == nil {
		err = file.Truncate(int64(len(text)))
	}
	return after, index, ok, err
}
