package stat_test

import (
	"testing"

	"knockkit/bench/stat"
)

func TestTheMedianAndTheQuartilesAreThoseOfTheSortedValues(t *testing.T) {
	tests := []struct {
		name   string
		values []float64
		want   stat.Sample
	}{
		{"none", nil, stat.Sample{}},
		{"one", []float64{7}, stat.Sample{Low: 7, Median: 7, High: 7, Count: 1}},
		{"five, unsorted", []float64{5, 1, 4, 2, 3}, stat.Sample{Low: 2, Median: 3, High: 4, Count: 5}},
		{"two: on the line between them", []float64{10, 20}, stat.Sample{Low: 12.5, Median: 15, High: 17.5, Count: 2}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := stat.Of(test.values...); got != test.want {
				t.Errorf("%+v, want %+v", got, test.want)
			}
		})
	}
}

func TestOneOutlierDoesNotMoveTheMedian(t *testing.T) {
	if got := stat.Of(1, 1, 1, 1, 1000).Median; got != 1 {
		t.Errorf("median %v", got)
	}
}

func TestTheSpreadOfNothingIsNone(t *testing.T) {
	if got := stat.Of(0, 0).Spread(); got != 0 {
		t.Errorf("spread %v", got)
	}
	if got := stat.Of(1, 2, 3).Spread(); got != 0.5 { // quartiles 1.5 and 2.5 around 2
		t.Errorf("spread %v", got)
	}
}
