package stat

import (
	"math"
	"slices"
)

// Sample sums up repeated measurements of one thing, in their unit. The zero
// Sample is of none.
type Sample struct {
	Low, Median, High float64 // the quartiles: half of the measurements lie from Low to High
	Count             int
}

// Of sums up measurements. Order does not matter; values is not changed.
func Of(values ...float64) Sample {
	if len(values) == 0 {
		return Sample{}
	}
	sorted := slices.Sorted(slices.Values(values))
	return Sample{quantile(sorted, 0.25), quantile(sorted, 0.5), quantile(sorted, 0.75), len(values)}
}

// quantile lies on the line between the two measurements around it.
func quantile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	below := math.Floor(at)
	low, high := sorted[int(below)], sorted[int(math.Ceil(at))]
	return low + (high-low)*(at-below)
}

// Spread is how far apart the quartiles are, as a share of the median: 0.1 says
// that half of the measurements lie within a tenth.
func (s Sample) Spread() float64 {
	if s.Median == 0 {
		return 0
	}
	return (s.High - s.Low) / s.Median
}
