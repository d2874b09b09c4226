package say

import (
	"slices"
	"strings"
	"testing"
)

func TestALongListOfNamesIsCutAndTheRestCounted(t *testing.T) {
	if got := Names([]string{"a", "b"}); got != "a, b" {
		t.Errorf("two: %q", got)
	}
	got := Names(slices.Repeat([]string{"a"}, mostNames+80))
	if strings.Count(got, "a, ") != mostNames-1 || !strings.HasSuffix(got, "a and 80 more") {
		t.Errorf("a hundred: %q", got)
	}
}
