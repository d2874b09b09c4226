package say

import (
	"fmt"
	"strings"
)

// Closest returns the word of among that word was most likely meant to be, ""
// when none is near: at most one slip for each four letters, at least one, and
// never as many as it has letters. It is never the opposite: not "install" for "uninstall".
func Closest(word string, among []string) string {
	letters := len([]rune(word))
	best, found := min(letters, max(1, letters/4)+1), ""
	for _, candidate := range among {
		if d := slips(word, candidate); d < best && !opposite(word, candidate) && !opposite(candidate, word) {
			best, found = d, candidate
		}
	}
	return found
}

// opposite reports whether x says no to y: it is y, with at most one slip, behind a syllable that y
// does not begin with; or the two begin with opposite syllables.
func opposite(x, y string) bool {
	for _, no := range []string{"un", "de", "dis", "non", "no-", "not-", "dont-", "without-"} {
		if rest, has := strings.CutPrefix(x, no); has && rest != "" && !strings.HasPrefix(y, no) && slips(rest, y) <= 1 {
			return true
		}
	}
	for _, pair := range [][2]string{{"ex", "im"}, {"ex", "in"}, {"dis", "en"}} {
		rest, has := strings.CutPrefix(x, pair[0])
		other, hasOther := strings.CutPrefix(y, pair[1])
		if has && hasOther && slips(rest, other) <= 1 {
			return true
		}
	}
	return false
}

// slips counts the letters added, lost, changed, or swapped with their
// neighbour between a and b (the optimal string alignment distance).
func slips(a, b string) int {
	x, y := []rune(a), []rune(b)
	d := make([][]int, len(x)+1)
	for i := range d {
		d[i] = make([]int, len(y)+1)
		d[i][0] = i
	}
	for j := range d[0] {
		d[0][j] = j
	}
	for i := 1; i <= len(x); i++ {
		for j := 1; j <= len(y); j++ {
			changed := 1
			if x[i-1] == y[j-1] {
				changed = 0
			}
			d[i][j] = min(d[i-1][j]+1, d[i][j-1]+1, d[i-1][j-1]+changed)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				d[i][j] = min(d[i][j], d[i-2][j-2]+1)
			}
		}
	}
	return d[len(x)][len(y)]
}

// Texts returns how each of them writes itself.
func Texts[T fmt.Stringer](all []T) []string {
	texts := make([]string, len(all))
	for i, one := range all {
		texts[i] = one.String()
	}
	return texts
}

// mostNames is how many names are written out before the rest is only counted.
const mostNames = 20

// Names returns names as one plain line, a long list cut short: "a, b and 80 more".
func Names(names []string) string {
	more := ""
	if n := len(names) - mostNames; n > 0 {
		names, more = names[:mostNames], fmt.Sprintf(" and %d more", n)
	}
	return Plain(strings.Join(names, ", ") + more)
}
