package ledger

import (
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"knockkit/internal/follow"
)

// many is a ledger with so many leases, and a kernel that has them.
func many(n int) (*Ledger, Kernel) {
	l, k := New("here", 1), Kernel{}
	for i := range n {
		holder := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 9, byte(i >> 8), byte(i)}), 32)
		s := lease("mysql", holder.String(), time.Hour)
		l.Merge(start, s, 0, false)
		k[follow.Key{Profile: "mysql", Holder: holder}] = []Grant{{End: s.End}}
	}
	for i := range 100 {
		l.Merge(start, ending("mysql", fmt.Sprintf("10.10.0.%d/32", i), ""), 0, false)
	}
	return l, k
}

func BenchmarkConvergeAllOfTenThousandLeases(b *testing.B) {
	l, k := many(10_000)
	for b.Loop() {
		if a := l.actions(start, k, mysql()); len(a.Give)+len(a.End)+len(a.News) > 0 {
			b.Fatal("something to do")
		}
	}
}

func BenchmarkConvergeOneOfTenThousandLeases(b *testing.B) {
	l, k := many(10_000)
	s := lease("mysql", host, time.Hour)
	l.Merge(start, s, 0, true)
	for b.Loop() {
		if a := l.Converge(start, profiles(), k, l.Touched(&s), true); len(a.Give) != 1 {
			b.Fatal(a)
		}
	}
}

func BenchmarkMemoryOfALease(b *testing.B) {
	var before, after runtime.MemStats
	for b.Loop() {
		runtime.GC()
		runtime.ReadMemStats(&before)
		l, _ := many(10_000)
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/10_000, "B/lease")
		runtime.KeepAlive(l)
	}
}
