package doctor

import (
	"context"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"knockkit/server/iptables"
)

// lookAtKernel reads settings of the kernel and the clock.
func (f *facts) lookAtKernel(ctx context.Context) {
	var err error
	f.Recent, err = iptables.ReadModule(ctx) // where it is not loaded the trial tells
	f.miss("xt_recent", err)
	_, err = os.Stat("/proc/sys/net/netfilter/nf_conntrack_max")
	f.Conntrack = err == nil

	var now unix.Timex
	state, err := unix.Adjtimex(&now)
	f.miss("the clock", err)
	f.Clock = clockState{Known: err == nil, Synchronised: state != unix.TIME_ERROR && now.Status&unix.STA_UNSYNC == 0}
}

// reversePath reads the filter of an interface: the higher of its own value and that
// of all (Documentation/networking/ip-sysctl.rst).
func reversePath(name string) pathFilter {
	value := max(rpFilter("all"), rpFilter(name))
	return pathFilter{Name: name, Strict: value == "1", Loose: value == "2"}
}

func rpFilter(name string) string {
	text, err := os.ReadFile("/proc/sys/net/ipv4/conf/" + name + "/rp_filter")
	if err != nil {
		return "0" // a kernel without IPv4 filters nothing
	}
	return strings.TrimSpace(string(text))
}
