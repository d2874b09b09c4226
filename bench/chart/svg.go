package chart

import (
	"fmt"
	"html"
	"strings"
)

// canvas collects the elements of a drawing.
type canvas struct {
	width, height float64
	body          strings.Builder
}

func (c *canvas) add(format string, args ...any) { fmt.Fprintf(&c.body, "  "+format+"\n", args...) }

func (c *canvas) line(x1, y1, x2, y2 float64, color, more string) {
	c.add(`<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s"%s/>`, x1, y1, x2, y2, color, more)
}

// text writes at a point; anchor is "start", "middle" or "end".
func (c *canvas) text(x, y float64, anchor, words string) {
	c.add(`<text x="%.1f" y="%.1f" text-anchor="%s">%s</text>`, x, y, anchor, html.EscapeString(words))
}

func (c *canvas) title(words string) {
	c.add(`<text x="12" y="22" font-size="15" font-weight="bold">%s</text>`, html.EscapeString(words))
}

// bytes returns the file. The background is white, so that the words can be read
// on a dark page too.
func (c *canvas) bytes() []byte {
	return fmt.Appendf(nil, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" width="%.0f" height="%.0f" font-family="sans-serif" font-size="12" fill="#222222">
  <rect width="100%%" height="100%%" fill="#ffffff"/>
%s</svg>
`, c.width, c.height, c.width, c.height, c.body.String())
}

const (
	ink  = "#222222"
	grid = "#dddddd"
)

// color returns the colour of the i-th series. They can be told apart with every
// kind of colour blindness (Okabe and Ito's palette).
func color(i int) string {
	colors := []string{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555"}
	return colors[i%len(colors)]
}
