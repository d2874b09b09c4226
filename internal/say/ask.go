package say

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"golang.org/x/term"
)

// What is pasted into a terminal comes in pieces: it is at its end when nothing came for a pause, and is
// waited for at most so long, as for a key that is held.
const (
	pastePause = 100 * time.Millisecond
	mostPaste  = time.Second
)

// ErrCtrlC says that a person gave a question up with Ctrl-C: the terminal sends no signal for it then.
var ErrCtrlC = errors.New("interrupted")

// AskSecret asks a person on a terminal for a text, which is not shown: a line, and for each further one
// while more, if it is not nil, says so of the lines so far. An empty line ends it. What was pasted
// behind that is thrown away: the shell would run it. The error is [io.EOF] where it is given up with
// Ctrl-D, [ErrCtrlC] with that key, and the context's cause where that ends; the terminal is then as it was before.
func (p *Printer) AskSecret(ctx context.Context, terminal *os.File, question string, more func(lines string) bool) (string, error) {
	fd := int(terminal.Fd())
	// Before the question: what is typed after it is never shown. The kernel's own lines, without
	// this, end after 4,095 bytes (1,024 on macOS).
	before, err := term.MakeRaw(fd)
	if err != nil {
		return "", fmt.Errorf("ask on the terminal: %w", err)
	}
	defer term.Restore(fd, before)
	keys := readKeys(ctx, terminal)
	defer keys.discard()
	screen := term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{keys, p.W}, "")
	var lines string
	for prompt := Text("%s: %s: ", p.Name, question); ; prompt = Text("%s: and the rest of it: ", p.Name) {
		line, err := screen.ReadPassword(string(prompt))
		if err != nil && !errors.Is(err, term.ErrPasteIndicator) {
			fmt.Fprint(p.W, "\r\n") // what follows begins a line
			if keys.interrupted {
				err = ErrCtrlC
			}
			return "", cmp.Or(context.Cause(ctx), err)
		}
		lines += line + "\n"
		if line == "" || more == nil || !more(lines) {
			return lines, nil
		}
	}
}

// keys is what is typed. A context cannot end the reading of a terminal, but the waiting for it.
type keys struct {
	ctx  context.Context
	came chan typed
	left []byte // of what came, for the next Read

	interrupted bool // by Ctrl-C
}

type typed struct {
	text []byte
	err  error
}

func readKeys(ctx context.Context, terminal io.Reader) *keys {
	k := &keys{ctx: ctx, came: make(chan typed)}
	go func() {
		for {
			text := make([]byte, 256)
			n, err := terminal.Read(text)
			k.came <- typed{text[:n], err} // for ever, when nobody asks any longer
			if err != nil {
				return
			}
		}
	}()
	return k
}

// Read implements io.Reader.
func (k *keys) Read(b []byte) (int, error) {
	if len(k.left) == 0 {
		select {
		case t := <-k.came:
			if k.left = t.text; t.err != nil {
				return 0, t.err
			}
		case <-k.ctx.Done():
			return 0, context.Cause(k.ctx)
		}
	}
	n := copy(b, k.left)
	k.left = k.left[n:]
	k.interrupted = k.interrupted || slices.Contains(b[:n], 3) // what is pasted has none
	return n, nil
}

// discard reads what is typed until nothing comes any more.
func (k *keys) discard() {
	for end := time.After(mostPaste); ; {
		select {
		case t := <-k.came:
			if t.err != nil {
				return
			}
		case <-time.After(pastePause):
			return
		case <-end:
			return
		}
	}
}
