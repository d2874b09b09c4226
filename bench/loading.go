//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"knockkit/bench/stage"
	"knockkit/bench/stat"
	"knockkit/internal/lab"
	"knockkit/protocol"
	"knockkit/server"
)

// keyCounts are the numbers of keys that are compared.
func keyCounts() []int { return []int{1, 100, 10_000} }

// loadingCost says what it takes to load the tokens of keys.
type loadingCost struct {
	Keys  int
	First stat.Sample // seconds for keys that no kernel has had, and three slots
	Slot  stat.Sample // seconds for one slot more, as at the beginning of each

	// Bytes at most of the process that loads, and by which the kernel's general caches grew for the three
	// slots.
	Process, Kernel stat.Sample

	runs []loadingRun
}

// loadingRun is what a process of its own has measured: seconds, and bytes.
type loadingRun struct {
	First           float64
	Slots           []float64
	Process, Kernel int
}

// loading measures it in processes and on hosts of their own.
func (b *bench) loading() (all []*loadingCost, err error) {
	for _, n := range keyCounts() {
		all = append(all, &loadingCost{Keys: n})
	}
	err = b.turns(b.rounds(5, 1), len(all), func(_, i int) error {
		r, err := loadOnce(b, all[i].Keys)
		all[i].runs = append(all[i].runs, r)
		return err
	})
	for _, c := range all {
		c.sum()
	}
	return all, err
}

func (c *loadingCost) sum() {
	var first, slots, process, kernel []float64
	for _, r := range c.runs {
		first, slots = append(first, r.First), append(slots, r.Slots...)
		process, kernel = append(process, float64(r.Process)), append(kernel, float64(r.Kernel))
	}
	c.First, c.Slot, c.Process, c.Kernel = stat.Of(first...), stat.Of(slots...), stat.Of(process...), stat.Of(kernel...)
}

// loadMark holds a number of keys; the program that has it in its environment loads them.
const loadMark = "KNOCK_BENCH_KEYS"

// loadOnce loads so many keys on a new host.
func loadOnce(ctx context.Context, keys int) (r loadingRun, err error) {
	h, err := lab.New(fmt.Sprintf("%d keys", keys))
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	self, err := os.Executable()
	if err != nil {
		return r, err
	}
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", loadMark, keys))
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	if err := h.Start(cmd); err != nil {
		return r, err
	}
	if err := cmd.Wait(); err != nil {
		return r, fmt.Errorf("loading %d keys: %w", keys, err)
	}
	return r, json.Unmarshal(out.Bytes(), &r)
}

// loadingChild reports whether this process was started to load keys. It has then done so, with the
// given exit code.
func loadingChild(ctx context.Context) (code int, isChild bool) {
	n, err := strconv.Atoi(os.Getenv(loadMark))
	if err != nil {
		return 0, false
	}
	r, err := load(ctx, n)
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(r)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "loading:", err)
		return 1, true
	}
	return 0, true
}

// laterSlots are loaded behind the first three. There is room for six of 10,000 keys.
const laterSlots = 3

func load(ctx context.Context, n int) (r loadingRun, err error) {
	p, err := stage.Signed("signed", stage.Ping, 1024)
	if err != nil {
		return r, err
	}
	s, keys := stage.Ours("nftables"), stage.Keys(p, n)
	if _, err := s.Install(ctx, []*protocol.Profile{p}, server.InstallOptions{}); err != nil {
		return r, err
	}
	now, fresh := time.Now(), stage.IDs(keys)
	refresh := func() (float64, error) {
		start := time.Now()
		state, err := s.RefreshKeys(ctx, server.KeyRefresh{Now: now, Keys: keys, Fresh: fresh})
		if err == nil && len(state.Keys) != n {
			err = fmt.Errorf("%d keys of %d were loaded", len(state.Keys), n)
		}
		return time.Since(start).Seconds(), err
	}
	before, err := slabsAtRest(ctx)
	if err != nil {
		return r, err
	}
	if r.First, err = refresh(); err != nil {
		return r, err
	}
	after, err := slabs()
	if err != nil {
		return r, err
	}
	r.Kernel, fresh = after-before, nil
	for range laterSlots {
		now = now.Add(protocol.SlotTime)
		seconds, err := refresh()
		if err != nil {
			return r, err
		}
		r.Slots = append(r.Slots, seconds)
	}
	peak, err := line("/proc/self/status", "VmHWM")
	if err != nil {
		return r, err
	}
	kb, err := strconv.Atoi(strings.TrimSuffix(peak, " kB"))
	r.Process = kb << 10
	return r, err
}

// slabsAtRest returns what slabs returns, when the kernel has taken back what hosts of before had: it
// does so later. After ten seconds it waits no more.
func slabsAtRest(ctx context.Context) (is int, err error) {
	for range 50 {
		was := is
		if is, err = slabs(); err != nil || max(is-was, was-is) < noise/8 {
			return is, err
		}
		if err := stage.Wait(ctx, 200*time.Millisecond); err != nil {
			return 0, err
		}
	}
	return is, nil
}

// loadingOf returns the cost of a number of keys, nil where it was not measured.
func (p *page) loadingOf(keys int) *loadingCost {
	for _, c := range p.Loading {
		if c.Keys == keys {
			return c
		}
	}
	return nil
}

// LoadingTable shows what it takes, by number of keys.
func (p *page) LoadingTable() string {
	rows := [][]string{{"new keys, three slots"}, {"one slot more"}, {"memory of the process at most"}, {"memory of the kernel for three slots"}}
	for _, c := range p.Loading {
		kernel := "less than 0.5 MB"
		if c.Kernel.Median >= noise {
			kernel = fmt.Sprintf("%.1f MB", megabytes(int(c.Kernel.Median)))
		}
		for i, cell := range []string{exactly(c.First.Median), exactly(c.Slot.Median), fmt.Sprintf("%.0f MB", megabytes(int(c.Process.Median))), kernel} {
			rows[i] = append(rows[i], cell)
		}
	}
	return markdown(byNumber("keys", keyCounts()), rows)
}
