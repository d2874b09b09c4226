package iptables

import (
	"cmp"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// entry is an address in a recency table.
type entry struct {
	Addr     netip.Addr
	LastSeen uint64 // jiffies
}

// ParseRecent reads a file of /proc/net/xt_recent. A line has the form
//
//	src=198.51.100.2 ttl: 64 last_seen: 4295012345 oldest_pkt: 1 4295012345
//
// (recent_seq_show in net/netfilter/xt_recent.c).
func ParseRecent(text string) ([]entry, error) {
	var entries []entry
	for n, line := range strings.Split(text, "\n") {
		if line == "" {
			continue
		}
		fields := strings.Fields(line)
		src, ok := strings.CutPrefix(line, "src=")
		src, _, _ = strings.Cut(src, " ")
		addr, err := netip.ParseAddr(src)
		at, errAt := strconv.ParseUint(argument(fields, "last_seen:"), 10, 64)
		if err = cmp.Or(err, errAt); err != nil || !ok {
			return nil, fmt.Errorf("line %d is not one of a recency table: %q (%v)", n+1, line, err)
		}
		entries = append(entries, entry{addr, at})
	}
	return entries, nil
}

// clock is the kernel's own time: a count of ticks, and how many make a second.
type clock struct {
	Now uint64 // jiffies
	HZ  int
}

// Age returns how long ago a tick was.
func (c clock) Age(jiffies uint64) time.Duration {
	ticks := c.Now - jiffies
	if jiffies > c.Now {
		if jiffies-c.Now < 1<<31 {
			return 0 // the entry was made since the clock was read
		}
		ticks = c.Now + 1<<32 - jiffies // 32 bits wide on 32-bit kernels, and gone around
	}
	return time.Duration(float64(ticks) / float64(c.HZ) * float64(time.Second))
}

// expired reports whether an entry is older than limit; with limit 0 none is.
func (c clock) expired(e entry, limit time.Duration) bool {
	return limit > 0 && c.Age(e.LastSeen) > limit
}

// hertz are the tick rates that a Linux kernel can be built with on the
// architectures that have packet filters (kernel/Kconfig.hz).
var hertz = [...]int{100, 250, 300, 1000}

// rate tells the kernel's tick rate from two readings of its clock: the rate that the ticks between
// them come closest to, by ratio.
func rate(ticks uint64, elapsed time.Duration) int {
	measured := float64(ticks) / elapsed.Seconds()
	best, distance := 0, 0.0
	for _, hz := range hertz {
		d := max(measured, float64(hz)) / max(min(measured, float64(hz)), 1)
		if best == 0 || d < distance {
			best, distance = hz, d
		}
	}
	return best
}
