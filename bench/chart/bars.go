package chart

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
	x := func(v float64) float64 { return barLeft + horizontal.place(v)*(barWidth-barLeft-barRight) }

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
