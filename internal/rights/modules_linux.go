package rights

import (
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// MayLoadModules reports whether the process is the machine's own root with all its
// powers: that of a user namespace, or of a service that may not, loads modules only
// by using them.
func MayLoadModules() bool {
	ids, err := os.ReadFile("/proc/self/uid_map")
	fields := strings.Fields(string(ids))
	if err != nil || len(fields) != 3 || fields[1] != "0" || fields[2] != "4294967295" {
		return false
	}
	return Has(unix.CAP_SYS_MODULE)
}
