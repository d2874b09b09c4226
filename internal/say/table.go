package say

import (
	"io"
	"strings"
)

// Table writes rows below a header, each column as wide as its widest cell.
// The columns are two spaces apart; no line ends in spaces.
func Table(w io.Writer, header []string, rows [][]string) error {
	lines := append([][]string{header}, rows...)
	return Columns(w, lines)
}

// Columns writes lines of cells, aligned, without a header.
func Columns(w io.Writer, lines [][]string) error {
	var widths []int
	for _, line := range lines {
		for i, cell := range line {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], Width(Plain(cell)))
		}
	}
	var b strings.Builder
	for _, line := range lines {
		var row strings.Builder
		for i, cell := range line {
			row.WriteString(Pad(Plain(cell), widths[i]+2))
		}
		b.WriteString(strings.TrimRight(row.String(), " ") + "\n")
	}
	return write(w, b.String())
}
