package say

const (
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	cyan   = "\x1b[36m"
	reset  = "\x1b[0m"
)

// Good paints text that reports a success.
func (p *Printer) Good(text string) Painted { return p.paint(green, text) }

// Bad paints text that reports a failure.
func (p *Printer) Bad(text string) Painted { return p.paint(red, text) }

func (p *Printer) paint(color, text string) Painted {
	text = Plain(text)
	if !p.Color || text == "" || color == "" {
		return Painted(text)
	}
	return Painted(color + text + reset)
}
