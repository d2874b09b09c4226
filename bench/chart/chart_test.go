package chart_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"strings"
	"testing"

	"knockkit/bench/chart"
)

// elements returns how often each element occurs, and all text, and fails where the
// drawing is not XML.
func elements(t *testing.T, svg []byte) (counts map[string]int, text string) {
	t.Helper()
	counts = map[string]int{}
	var words strings.Builder
	for d := xml.NewDecoder(bytes.NewReader(svg)); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return counts, words.String()
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, svg)
		}
		switch x := token.(type) {
		case xml.StartElement:
			counts[x.Name.Local]++
		case xml.CharData:
			words.Write(x)
		}
	}
}

func lines(log bool, values ...float64) chart.Lines {
	return chart.Lines{Title: "a < b & c", X: "x", Y: "y", Labels: []string{"1", "10", "100", "1,000"}, Log: log,
		Series: []chart.Series{{Name: "one", Values: values}}}
}

func TestALineHasAPointForEachValueAndAGapForWhatIsNone(t *testing.T) {
	tests := []struct {
		name             string
		chart            chart.Lines
		points, polyline int
	}{
		{"whole", lines(false, 1, 2, 3, 4), 4, 1},
		{"a gap in the middle splits the line", lines(false, 1, 2, math.NaN(), 4), 3, 1},
		{"a gap between two pairs", lines(true, 1, 2, 0, 4), 3, 1},
		{"zero is a value of a linear axis", lines(false, 0, 2, 0, 4), 4, 1},
		{"shorter than the labels", lines(false, 1), 1, 0},
		{"nothing to draw", lines(true), 0, 0},
		{"all the same", lines(true, 10, 10, 10, 10), 4, 1},
		{"all zero", lines(false, 0, 0, 0, 0), 4, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			svg := test.chart.SVG()
			counts, text := elements(t, svg)
			if counts["circle"] != test.points || counts["polyline"] != test.polyline {
				t.Errorf("%d points and %d lines, want %d and %d", counts["circle"], counts["polyline"], test.points, test.polyline)
			}
			if bytes.Contains(svg, []byte("NaN")) || bytes.Contains(svg, []byte("Inf")) {
				t.Errorf("a place that is no number:\n%s", svg)
			}
			if !strings.Contains(text, "a < b & c") {
				t.Errorf("the title is not there: %q", text)
			}
		})
	}
}

func TestALogarithmicAxisGoesFromAPowerOfTenToAnother(t *testing.T) {
	_, text := elements(t, lines(true, 1200, 2600, 104000).SVG())
	for _, tick := range []string{"1,000", "10,000", "100,000", "1,000,000"} {
		if !strings.Contains(text, tick) {
			t.Errorf("no tick %s in %q", tick, text)
		}
	}
}

func TestABarIsDrawnForEachValueThatHasALength(t *testing.T) {
	b := chart.Bars{Title: "t", Unit: "ms", Log: true, Bars: []chart.Bar{{"ours", 0.1}, {"theirs", 60}, {"no process", 0}}}
	counts, text := elements(t, b.SVG())
	if counts["rect"] != 1+2 { // the background is one
		t.Errorf("%d bars", counts["rect"]-1)
	}
	if !strings.Contains(text, "none") || !strings.Contains(text, "no process") {
		t.Errorf("the value without a bar is not named: %q", text)
	}
}
