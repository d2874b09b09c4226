package say

import (
	"io"
	"strings"
	"unicode"
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

// Width returns how many columns of a terminal plain text takes: none for marks that
// sit on the letter before, two for the wide letters of East Asia and for emoji.
func Width(text string) int {
	w := 0
	for _, r := range text {
		w += runeWidth(r)
	}
	return w
}

// Pad fills text with spaces up to width columns.
func Pad(text string, width int) string {
	return text + strings.Repeat(" ", max(0, width-Width(text)))
}

// Cut shortens plain text to at most width columns, with "…" in place of its end.
func Cut(text string, width int) string {
	if Width(text) <= width {
		return text
	}
	w := 0
	for i, r := range text {
		if w += runeWidth(r); w > width-1 {
			return text[:i] + "…"
		}
	}
	return text
}

func runeWidth(r rune) int {
	switch {
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		return 0
	case wide(r):
		return 2
	}
	return 1
}

// wide follows the blocks of Unicode's East Asian Width table (UAX 11) that
// are wide as a whole; single letters outside them do not matter here.
func wide(r rune) bool {
	return r >= 0x1100 && r <= 0x115f || // Hangul
		r >= 0x2e80 && r <= 0xa4cf && r != 0x303f || // CJK, kana, Yi
		r >= 0xac00 && r <= 0xd7a3 || // Hangul
		r >= 0xf900 && r <= 0xfaff || r >= 0xfe30 && r <= 0xfe6f || // CJK
		r >= 0xff00 && r <= 0xff60 || r >= 0xffe0 && r <= 0xffe6 || // full width
		r >= 0x1f300 && r <= 0x1f64f || r >= 0x1f900 && r <= 0x1f9ff || // emoji
		r >= 0x20000 && r <= 0x3fffd // CJK
}
