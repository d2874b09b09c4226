package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"
)

// patience is how long a file may take that is regular by name and waits like a pipe, as
// /proc/kmsg does.
const patience = 5 * time.Second

// Read returns what is in a regular file, of at most limit bytes.
func Read(path string, limit int) ([]byte, error) {
	info, err := os.Stat(path) // first: some devices act when they are opened
	if err == nil {
		err = regular(path, info)
	}
	if failed := new(fs.PathError); errors.As(err, &failed) {
		failed.Op = "open" // which is what was wanted
	}
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDONLY|nonBlock, 0) // it may have become a pipe
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err = f.Stat(); err == nil {
		err = regular(path, info)
	}
	if err != nil {
		return nil, err
	}
	_ = f.SetReadDeadline(time.Now().Add(patience)) // an error: this file never waits
	return upTo(limit, path, f)
}

// Input is [Read] for a file that a person has named: "-" is standard input, and what
// the shell hands over, as <(COMMAND), may be a pipe. That is read until its writer ends
// it, or the context ends.
func Input(ctx context.Context, path string, limit int) ([]byte, error) {
	if path != "-" && path != "/dev/stdin" && !strings.HasPrefix(path, "/dev/fd/") && !strings.HasPrefix(path, "/proc/self/fd/") {
		return Read(path, limit)
	}
	f, name := os.Stdin, "standard input"
	if path != "-" && path != "/dev/stdin" {
		var err error
		name = path
		if f, err = os.OpenFile(path, os.O_RDONLY|nonBlock, 0); err != nil {
			return nil, err
		}
		defer f.Close()
	}
	type result struct {
		text []byte
		err  error
	}
	ended := make(chan result, 1)
	go func() {
		text, err := upTo(limit, name, f)
		ended <- result{text, err}
	}()
	select {
	case r := <-ended:
		return r.text, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func upTo(limit int, path string, r io.Reader) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, int64(limit)+1))
	if err == nil && len(text) > limit {
		err = fmt.Errorf("%s has more than %d bytes, and so is no file of this kind", path, limit)
	}
	if err != nil {
		return nil, err
	}
	return text, nil
}

func regular(path string, info fs.FileInfo) error {
	what := "a device or a socket"
	switch mode := info.Mode(); {
	case mode.IsRegular():
		return nil
	case mode.IsDir():
		what = "a folder"
	case mode&fs.ModeNamedPipe != 0:
		what = "a pipe"
	}
	return fmt.Errorf("%s is not a regular file: it is %s", path, what)
}
