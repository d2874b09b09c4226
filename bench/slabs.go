//go:build linux

package main

import (
	"fmt"
	"strconv"
	"strings"
)

// kmallocBytes adds up what is in use in the kernel's general caches, from the text
// of /proc/slabinfo: both kinds of tables keep their entries there.
func kmallocBytes(slabinfo string) (int, error) {
	total := 0
	for l := range strings.Lines(slabinfo) {
		fields := strings.Fields(l)
		if len(fields) < 4 || !strings.HasPrefix(fields[0], "kmalloc-") {
			continue
		}
		// name, objects in use, objects, bytes of one
		active, errActive := strconv.Atoi(fields[1])
		size, errSize := strconv.Atoi(fields[3])
		if errActive != nil || errSize != nil {
			return 0, fmt.Errorf("slabinfo: %q", strings.TrimSpace(l))
		}
		total += active * size
	}
	if total == 0 {
		return 0, fmt.Errorf("slabinfo: no general caches")
	}
	return total, nil
}
