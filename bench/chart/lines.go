package chart

import (
	"fmt"
	"strings"
)

// Lines is a chart of series over a row of labels.
type Lines struct {
	Title  string
	X, Y   string   // what the axes are, with the unit
	Labels []string // below the points, evenly apart: at least one
	Log    bool     // the vertical axis is logarithmic
	Series []Series
}

// Series is one line. Values has one value for each label; a value that is not a
// number, or not positive on a logarithmic axis, leaves a gap.
type Series struct {
	Name   string
	Values []float64
	Dashed bool // for what is there to compare with
}

const (
	lineWidth, lineHeight = 760.0, 400.0
	left, top             = 92.0, 44.0
	right, bottom         = 206.0, 56.0
)

// SVG draws the chart.
func (l Lines) SVG() []byte {
	c := &canvas{width: lineWidth, height: lineHeight}
	var all []float64
	for _, s := range l.Series {
		all = append(all, s.Values...)
	}
	vertical := axisFor(all, l.Log)
	y := func(v float64) float64 { return lineHeight - bottom - vertical.at(v)*(lineHeight-top-bottom) }

	c.title(l.Title)
	for _, v := range vertical.ticks() {
		c.line(left, y(v), lineWidth-right, y(v), grid, "")
		c.text(left-8, y(v)+4, "end", number(v))
	}
	for i, label := range l.Labels {
		c.text(l.x(i), lineHeight-bottom+18, "middle", label)
	}
	c.line(left, lineHeight-bottom, lineWidth-right, lineHeight-bottom, ink, "")
	c.text((left+lineWidth-right)/2, lineHeight-16, "middle", l.X)
	c.add(`<text transform="translate(16 %.1f) rotate(-90)" text-anchor="middle">%s</text>`, (top+lineHeight-bottom)/2, l.Y)
	for i, s := range l.Series {
		l.draw(c, s, color(i), y)
		at := top + 8 + 20*float64(i)
		c.line(lineWidth-right+16, at, lineWidth-right+40, at, color(i), stroke(s))
		c.text(lineWidth-right+46, at+4, "start", s.Name)
	}
	return c.bytes()
}

// x is where the i-th label stands.
func (l Lines) x(i int) float64 {
	width := (lineWidth - left - right) / float64(len(l.Labels))
	return left + width*(float64(i)+0.5)
}

func (l Lines) draw(c *canvas, s Series, color string, y func(float64) float64) {
	var run []string
	flush := func() {
		if len(run) > 1 {
			c.add(`<polyline points="%s" fill="none" stroke="%s"%s/>`, strings.Join(run, " "), color, stroke(s))
		}
		run = nil
	}
	for i, v := range s.Values {
		if i >= len(l.Labels) || !usable(v, l.Log) {
			flush()
			continue
		}
		run = append(run, fmt.Sprintf("%.1f,%.1f", l.x(i), y(v)))
		c.add(`<circle cx="%.1f" cy="%.1f" r="3.5" fill="%s"/>`, l.x(i), y(v), color)
	}
	flush()
}

func stroke(s Series) string {
	if s.Dashed {
		return ` stroke-width="1.5" stroke-dasharray="5 4"`
	}
	return ` stroke-width="2.5"`
}

// Bars is a chart of one bar a name, longest value to the right.
type Bars struct {
	Title string
	Unit  string // of the values, and below the axis
	Log   bool
	Bars  []Bar
}

// Bar is one value. One that cannot be drawn (not a number, or not positive on a
// logarithmic axis) is written without a bar, as "none".
type Bar struct {
	Name  string
	Value float64
}

const (
	barWidth, barLeft, barRight = 760.0, 170.0, 110.0
	barStep, barThick           = 30.0, 18.0
	barTop, barBottom           = 40.0, 48.0
)

// SVG draws the chart.
func (b Bars) SVG() []byte {
	bottom := barTop + barStep*float64(len(b.Bars))
	c := &canvas{width: barWidth, height: bottom + barBottom}
	var all []float64
	for _, bar := range b.Bars {
		all = append(all, bar.Value)
	}
	horizontal := axisFor(all, b.Log)
	x := func(v float64) float64 { return barLeft + horizontal.at(v)*(barWidth-barLeft-barRight) }

	c.title(b.Title)
	for _, v := range horizontal.ticks() {
		c.line(x(v), barTop, x(v), bottom, grid, "")
		c.text(x(v), bottom+16, "middle", number(v))
	}
	c.text((barLeft+barWidth-barRight)/2, bottom+36, "middle", b.Unit)
	for i, bar := range b.Bars {
		at := barTop + barStep*float64(i) + (barStep-barThick)/2
		c.text(barLeft-8, at+barThick-5, "end", bar.Name)
		if !usable(bar.Value, b.Log) {
			c.text(barLeft+6, at+barThick-5, "start", "none")
			continue
		}
		c.add(`<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"/>`, barLeft, at, max(1, x(bar.Value)-barLeft), barThick, color(i))
		c.text(max(barLeft+1, x(bar.Value))+6, at+barThick-5, "start", number(bar.Value))
	}
	c.line(barLeft, barTop, barLeft, bottom, ink, "")
	return c.bytes()
}
