//go:build linux

package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"knockkit/bench/stage"
	"knockkit/bench/stat"
)

// measured is a page of a run in which all parts were measured, and fwknop and
// knockd are not installed.
func measured() *page {
	p := &page{}
	for _, r := range stage.AllRules() {
		for _, n := range counts() {
			if n > 1 && (!r.Profiles || n > r.Most) {
				continue
			}
			if !r.Profiles {
				n = 0
			}
			c := &packetCost{Rules: r, Profiles: n, NS: map[probe]*stat.Sample{}}
			for _, pr := range probes(r) {
				s := stat.Of(1000 + float64(n))
				c.NS[pr] = &s
			}
			p.Packets = append(p.Packets, c)
		}
	}
	for _, packet := range []string{strangersPing, strangersDatagram} {
		for _, c := range signedCases() {
			p.Signed = append(p.Signed, &signedCost{Packet: packet, signedCase: c, NS: stat.Of(1000 + float64(2*c.Profiles*c.Keys))})
		}
	}
	for _, n := range keyCounts() {
		c := &loadingCost{Keys: n, runs: []loadingRun{{First: 3 * float64(n) / 10_000, Slots: []float64{float64(n) / 10_000}, Process: 20 << 20, Kernel: n << 10}}}
		c.sum()
		p.Loading = append(p.Loading, c)
	}
	for _, d := range openers() {
		p.Opening = append(p.Opening, &openingTime{Name: d.name, Missing: d.program != "", NoDaemon: true, MS: stat.Of(0.5)})
	}
	p.Commands = commandCosts()
	for _, c := range p.Commands {
		seconds, flooded := map[int]float64{60_000: 0.002, 524_288: 60}[c.positions]
		if !flooded {
			seconds = float64(c.profiles) / 1000
		}
		for _, what := range append(byProfiles(), byPositions()...) {
			c.runs[what] = []commandRun{{seconds, 20 << 20}}
		}
	}
	for _, rate := range rates() {
		for _, d := range flooded() {
			p.Floods = append(p.Floods, &floodResult{Name: d.name, Missing: d.program != "", Rate: rate, Sent: float64(rate) / 2, Visits: 40, Opens: 30, MS: stat.Of(7)})
		}
	}
	for _, d := range ownFlooded() {
		for _, rate := range ownRates() {
			r := &floodResult{Name: d.name, Own: true, Missing: d.program != "", Rate: rate, Sent: 300_000, Visits: 40, Opens: 40, MS: stat.Of(7)}
			if d.name == stage.SignedRules {
				r.Arrived, r.Taken = 43, 43
			}
			p.Floods = append(p.Floods, r)
		}
	}
	p.Knocks = &knockFlood{Sent: 59_000, Runs: 40, Opens: 39, Attempts: 2, Seconds: stat.Of(0.5)}
	p.Positions = []*positionsResult{{Name: stage.NFTables, Sources: 65_000, Positions: 64_999, Bytes: 4 << 20, Opens: true}}
	return p
}

func written(t *testing.T, p *page) (text string, dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := p.write(dir); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, "performance.md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(data), dir
}

func TestEveryPlotOfThePageIsBesideIt(t *testing.T) {
	text, dir := written(t, measured())
	links := regexp.MustCompile(`!\[[^]]+\]\(([^)]+)\)`).FindAllStringSubmatch(text, -1)
	for _, link := range links {
		if _, err := os.Stat(filepath.Join(dir, link[1])); err != nil {
			t.Error(err)
		}
	}
	if want := len(measured().plots()); len(links) != want {
		t.Errorf("%d plots are shown of %d", len(links), want)
	}
}

func TestThePageSaysWhatWasMeasuredAndWhatWasNot(t *testing.T) {
	text, _ := written(t, measured())
	for _, row := range []string{
		"| ours, nftables | 1,001 | 1,010 | 1,100 | 2,000 |",
		"| the article's rules | 1,001 | 1,010 | 1,100 | – |",
		"| fwknopd | not measured |",
		"| Debian's knockd | not measured | not measured | not measured | not measured |",
		"| ours, iptables | 30 of 40, 7.0 ms |",
		"ours, nftables at 50,000: 25,000",
		"| a ping | 1,000 | 1,002 | 1,200 | 21,000 | 1.00 | 1.20 |",
		"| nftables, 100 signed profiles to 1: a ping | at most 1.1 | 1.20 | **no** |",
		"| new keys, three slots | 0.30 ms | 30 ms | 3.0 s |",
		"| memory of the kernel for three slots | less than 0.5 MB | less than 0.5 MB | 9.8 MB |",
		"| one slot's tokens of 10,000 keys | at most 1 s | 1.00 s | yes |",
		"| ours, signed | 40 of 40, 7.0 ms | 40 of 40, 7.0 ms | 40 of 40, 7.0 ms | 40 of 40, 7.0 ms (300,000 a second) |",
		"of 172 tokens of the right client that reached the host, the kernel took 172.",
		"in a flood of 59,000 random tokens a second: 39 of 40 runs opened, with at most 2 attempts, after 500 ms",
		"the share of runs that opened | at least 1 | 0.97 | **no** |",
		"| ours, nftables | 65,000 | 64,999 | 4.0 MB |",
		"| nftables, 1,000 profiles to 1: a gated port | at most 1.3 | 2.00 | **no** |", // 2,000 to 1,001 ns
		"| iptables, 100 profiles to 1: a gated port | at most 1.5 | 1.10 | yes |",      // 1,100 to 1,001 ns
		"| nftables: install of 1,000 profiles to 100 | at most 15 | 10.00 | yes |",     // 1 s to 100 ms
		"| nftables: install of 1,000 profiles | at most 5 s | 1.00 s | yes |",
		"| nftables: `grant` | 1.0 ms | 100 ms | 500 ms | 1.0 s |",
		"| `grant` | 1.0 ms, 20 MB | 2.0 ms, 20 MB | 60 s, 20 MB |",
		"| nftables: grant with 500 profiles, less 150 ms, to 1 | at most 4 | 350.00 | **no** |",
		"| nftables: revoke with 60,000 positions, less 150 ms, to none | at most 3 | 0.00 | yes |",
		"| nftables: status with 524,288 positions: memory | at most 64 MB | 20.00 MB | yes |",
	} {
		if !strings.Contains(text, row) {
			t.Errorf("there is no %q in\n%s", row, text)
		}
	}
	if strings.Contains(text, "quick run: few") || strings.Contains(text, "<no value>") || strings.Contains(text, "NaN") {
		t.Errorf("what should not be there is:\n%s", text)
	}
}

func TestAPartThatWasNotMeasuredLeavesNoChapter(t *testing.T) {
	p := measured()
	p.Packets, p.Signed, p.Loading, p.Opening, p.Floods, p.Knocks, p.Positions, p.Quick = nil, nil, nil, nil, nil, nil, nil, true
	text, _ := written(t, p)
	var chapters []string
	for l := range strings.Lines(text) {
		if chapter, ok := strings.CutPrefix(l, "## "); ok {
			chapters = append(chapters, strings.TrimSpace(chapter))
		}
	}
	if got := strings.Join(chapters, ", "); got != "What is meant to hold, Commands" {
		t.Errorf("chapters: %s", got)
	}
	if !strings.Contains(text, "quick run: few") {
		t.Error("a quick run does not say that it is one")
	}
}

func TestAPartThatThereIsNotIsNamed(t *testing.T) {
	if _, err := choose("packets,command"); err == nil || !strings.Contains(err.Error(), `"command"`) {
		t.Errorf("error: %v", err)
	}
	if parts, err := choose("flood,commands"); err != nil || len(parts) != 2 || parts[0].name != "flood" {
		t.Errorf("%v (%v)", parts, err)
	}
}
