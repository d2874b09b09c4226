package say

import (
	"fmt"
	"strings"
)

// mostNames is how many names are written out before the rest is only counted.
const mostNames = 20

// Names returns names as one plain line, a long list cut short: "a, b and 80 more".
func Names(names []string) string { return Plain(listed(names)) }

func listed(names []string) string {
	if len(names) <= mostNames {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:mostNames], ", "), len(names)-mostNames)
}
