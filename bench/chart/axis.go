package chart

import (
	"math"
	"strconv"
)

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

func (a axis) place(v float64) float64 {
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
