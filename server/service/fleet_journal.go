package service

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"knockkit/internal/files"
	"knockkit/server/fleet/ledger"
)

// journalFile has the statements of this node, one on each line, in the folder of the fleet's store. A
// node that is restarted without its fleet knows by it what it has said.
const journalFile = "said"

// journalSlack is how many lines more than twice what counts the journal may have.
const journalSlack = 10_000

// journal writes that file.
type journal struct {
	path  string
	file  *os.File
	lines int // of which some may be over
	most  int // then it is written anew
}

// openJournal opens the journal of a folder, which it makes, and returns the statements that are not
// over. Only this user can read it: it says who is let in where. A line that cannot be read, as the last one
// after a crash, is left out.
func openJournal(folder string, now time.Time) (*journal, []ledger.Statement, error) {
	if err := ownFolder(folder); err != nil {
		return nil, nil, err
	}
	j := &journal{path: filepath.Join(folder, journalFile)}
	text, err := os.ReadFile(j.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	latest := map[ledger.ID]int{}
	var all []ledger.Statement
	for line := range bytes.Lines(text) {
		s, err := ledger.Decode(line)
		if err != nil || s.Over(now) {
			continue
		}
		if at, ok := latest[s.ID()]; ok { // said again later
			all[at] = s
			continue
		}
		latest[s.ID()] = len(all)
		all = append(all, s)
	}
	return j, all, j.rewrite(all)
}

// ownFolder makes a folder, and fails where others can write it: who writes there is let in everywhere.
func ownFolder(folder string) error {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	_, err := files.Check(folder)
	return err
}

// rewrite replaces the file by these statements.
func (j *journal) rewrite(all []ledger.Statement) error {
	j.Close()
	var text bytes.Buffer
	out := bufio.NewWriter(&text)
	for _, s := range all {
		fmt.Fprintf(out, "%s\n", s.Encode())
	}
	if err := errors.Join(out.Flush(), files.Write(j.path, text.Bytes(), true)); err != nil {
		return err
	}
	file, err := os.OpenFile(j.path, os.O_WRONLY|os.O_APPEND, 0o600)
	j.file, j.lines, j.most = file, len(all), 2*len(all)+journalSlack
	return err
}

// add writes one more. What was ended has to be on the disk: a lease that is lost is knocked for again.
func (j *journal) add(s ledger.Statement) error {
	if j.file == nil {
		return fmt.Errorf("%s: not open", j.path)
	}
	if _, err := j.file.Write(append(s.Encode(), '\n')); err != nil {
		return err
	}
	j.lines++
	if s.Kind == ledger.Ending {
		return j.file.Sync()
	}
	return nil
}

// Close closes the file.
func (j *journal) Close() {
	if j.file != nil {
		_ = j.file.Close() // each line is written
		j.file = nil
	}
}
