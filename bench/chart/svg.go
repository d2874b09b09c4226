package chart

import (
	"fmt"
	"html"
	"math"
	"strconv"
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

// axis maps values to places from 0 (the start) to 1 (the end).
type axis struct {
	low, high float64
	log       bool
}

// axisFor covers all finite values. A logarithmic one goes from a power of ten to
// another and leaves out what is not positive; a linear one starts at 0.
func axisFor(values []float64, log bool) axis {
	a := axis{low: math.Inf(1), high: math.Inf(-1), log: log}
	for _, v := range values {
		if usable(v, log) {
			a.low, a.high = min(a.low, v), max(a.high, v)
		}
	}
	if a.high < a.low { // nothing to draw
		a.low, a.high = 1, 1
	}
	if log {
		a.low = math.Pow(10, math.Floor(math.Log10(a.low)))
		a.high = math.Pow(10, math.Ceil(math.Log10(a.high)))
		if a.low == a.high {
			a.high *= 10
		}
		return a
	}
	a.low = 0
	step := a.step()
	a.high = max(step, math.Ceil(a.high/step)*step)
	return a
}

func usable(v float64, log bool) bool {
	return !math.IsNaN(v) && !math.IsInf(v, 0) && (v > 0 || !log)
}

func (a axis) at(v float64) float64 {
	if a.log {
		return math.Log10(v/a.low) / math.Log10(a.high/a.low)
	}
	return (v - a.low) / (a.high - a.low)
}

// step is 1, 2 or 5 times a power of ten: four to nine of them make the axis.
func (a axis) step() float64 {
	if a.high <= 0 {
		return 1
	}
	rough := a.high / 5
	power := math.Pow(10, math.Floor(math.Log10(rough)))
	for _, factor := range []float64{1, 2, 5} {
		if factor*power >= rough*0.999 {
			return factor * power
		}
	}
	return 10 * power
}

// ticks returns the values that get a line and a number.
func (a axis) ticks() []float64 {
	var all []float64
	if a.log {
		for v := a.low; v <= a.high*1.001; v *= 10 {
			all = append(all, v)
		}
		return all
	}
	step := a.step()
	for i := 0; float64(i)*step <= a.high*1.001; i++ {
		all = append(all, float64(i)*step)
	}
	return all
}

// number writes a value with three digits, and thousands apart: "0.25", "12,500".
func number(v float64) string {
	if math.Abs(v) < 100 {
		return strconv.FormatFloat(v, 'g', 3, 64)
	}
	digits := strconv.FormatFloat(v, 'f', 0, 64)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
