package say

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/term"
)

// AskSecret asks a person on a terminal for one line, which is not shown. The error is [io.EOF] where
// it is given up, with Ctrl-C or Ctrl-D.
func (p *Printer) AskSecret(terminal *os.File, question string) (string, error) {
	fd := int(terminal.Fd())
	// Before the question: what is typed after it is never shown. The kernel's own lines, without
	// this, end after 4,095 bytes (1,024 on macOS).
	before, err := term.MakeRaw(fd)
	if err != nil {
		return "", fmt.Errorf("ask on the terminal: %w", err)
	}
	defer term.Restore(fd, before)
	answer, err := term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{terminal, p.W}, "").ReadPassword(string(Text("%s: %s: ", p.Name, question)))
	if err != nil {
		fmt.Fprint(p.W, "\r\n") // what follows begins a line
	}
	return answer, err
}
