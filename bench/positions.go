//go:build linux

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"knockkit/bench/stage"
	"knockkit/internal/lab"
	"knockkit/server"
)

// positionsResult is the result of many sources in a position at once.
type positionsResult struct {
	Name      string
	Sources   int           // made a first knock
	Positions int           // are in a position afterwards, as status says
	Status    time.Duration // that reading it took
	Bytes     int           // by which what is in use in the general caches grew; others may have made it grow too
	Opens     bool          // whether the right client opens now
}

func sources() []int { return []int{100, 10_000, 65_000} }

// positions measures both backends.
func (b *bench) positions() ([]*positionsResult, error) {
	var results []*positionsResult
	for _, n := range sources() {
		results = append(results, &positionsResult{Name: stage.IPTables, Sources: n}, &positionsResult{Name: stage.NFTables, Sources: n})
	}
	err := b.turns(1, len(results), func(_, i int) error {
		if err := b.measurePositions(results[i]); err != nil {
			return fmt.Errorf("%s, %d sources: %w", results[i].Name, results[i].Sources, err)
		}
		return nil
	})
	return results, err
}

func (b *bench) measurePositions(r *positionsResult) (err error) {
	// Long enough that no position ends while they are counted.
	profiles, err := stage.Profiles(1, 10*time.Minute)
	if err != nil {
		return err
	}
	name := map[string]string{stage.IPTables: "iptables", stage.NFTables: "nftables"}[r.Name]
	s, err := stage.NewSite(r.Name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := stage.ApplyOurs(b, s.Host, name, profiles); err != nil {
		return err
	}
	p := profiles[0]
	l, err := s.Host.Listen("tcp", fmt.Sprintf("0.0.0.0:%d", p.Open[0].First))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()

	packets := make([][]byte, r.Sources)
	for i := range packets {
		packets[i] = knock(s, lab.ForgedAddr4(i), 20_000, p.Sequence[0].Knock.Port)
	}
	before, err := slabs()
	if err != nil {
		return err
	}
	for _, packet := range packets {
		if err := s.Wire.Inject(packet); err != nil {
			return err
		}
	}
	after, err := slabs()
	if err != nil {
		return err
	}
	r.Bytes = after - before
	start := time.Now()
	err = s.Host.Do(func() error {
		status, err := stage.Ours(name).Status(b, nil, nil)
		r.Positions = knocking(status)
		return err
	})
	if err != nil {
		return err
	}
	r.Status = time.Since(start)
	for i, step := range p.Sequence {
		if err := s.Wire.Inject(knock(s, s.Wire.Peer4, uint16(30_000+i), step.Knock.Port)); err != nil {
			return err
		}
	}
	r.Opens, err = s.Opens(netip.AddrPortFrom(s.Wire.Peer4, 31_000), p.Open[0].First)
	return err
}

func knock(s *stage.Site, from netip.Addr, fromPort, port uint16) []byte {
	return lab.SYN(netip.AddrPortFrom(from, fromPort), netip.AddrPortFrom(s.Host.Addr4, port))
}

func knocking(s server.Status) int {
	n := 0
	for _, source := range s.Sources {
		if source.State == server.Knocking {
			n++
		}
	}
	return n
}

// slabs is how much memory is in use in the kernel's general caches, in bytes.
func slabs() (int, error) {
	text, err := os.ReadFile("/proc/slabinfo")
	if err != nil {
		return 0, err
	}
	return kmallocBytes(string(text))
}

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
