package format

import (
	"bufio"
	"cmp"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestTheScannedPortsAreAHundredDifferentOnes(t *testing.T) {
	ports := scannedPorts()
	if !slices.IsSorted(ports) || len(slices.Compact(slices.Clone(ports))) != 100 {
		t.Errorf("%d ports, sorted %v", len(ports), slices.IsSorted(ports))
	}
}

// nmap-services lists for each port how often it was found open.
func TestTheScannedPortsAreThoseThatNmapFoundOpenMostOften(t *testing.T) {
	f, err := os.Open("/usr/share/nmap/nmap-services")
	if err != nil {
		t.Skipf("nmap's list is not here to compare with: %v", err)
	}
	defer f.Close()
	type row struct {
		port uint16
		open float64
	}
	var rows []row
	for lines := bufio.NewScanner(f); lines.Scan(); {
		words := strings.Fields(lines.Text())
		if len(words) < 3 || !strings.HasSuffix(words[1], "/tcp") {
			continue
		}
		port, err := strconv.ParseUint(strings.TrimSuffix(words[1], "/tcp"), 10, 16)
		open, err2 := strconv.ParseFloat(words[2], 64)
		if err == nil && err2 == nil {
			rows = append(rows, row{uint16(port), open})
		}
	}
	slices.SortStableFunc(rows, func(x, y row) int { return cmp.Compare(y.open, x.open) })
	var top []uint16
	for _, r := range rows[:100] {
		top = append(top, r.port)
	}
	slices.Sort(top)
	// Releases of nmap differ in a few ports of nearly the same frequency.
	missing := 0
	for _, port := range top {
		if !slices.Contains(scannedPorts(), port) {
			missing++
		}
	}
	if missing > 5 {
		t.Errorf("%d of nmap's first hundred are not in our list", missing)
	}
}
