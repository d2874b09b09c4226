package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"knockkit/client"
	"knockkit/internal/say"
	"knockkit/protocol"
)

func TestTheLineFillsAsTheKnocksGo(t *testing.T) {
	icmp := protocol.Knock{Proto: protocol.ICMP}
	back := protocol.Knock{Proto: protocol.TCP, Port: 8000}
	p := &protocol.Profile{Name: "mysql", Sequence: []protocol.Step{{Knock: icmp}, {Knock: back}}}
	for _, c := range []struct {
		details bool
		want    []string
	}{
		{true, []string{
			"mysql  icmp ✓  8000/tcp …",
			"mysql  icmp ✓  8000/tcp ✓",
			"mysql  icmp ✓  8000/tcp ✓  3306/tcp …",
			"mysql (attempt 2)  icmp ✓  8000/tcp …",
		}},
		{false, []string{ // the check is no secret
			"mysql  1 of 2 knocks",
			"mysql  2 of 2 knocks",
			"mysql  2 of 2 knocks  3306/tcp …",
			"mysql (attempt 2)  1 of 2 knocks",
		}},
	} {
		if diff := cmp.Diff(c.want, linesOf(p, c.details)); diff != "" {
			t.Errorf("details %v: %s", c.details, diff)
		}
	}
}

// linesOf returns what the line shows of two attempts at a profile of two knocks.
func linesOf(p *protocol.Profile, details bool) (lines []string) {
	icmp, back := p.Sequence[0].Knock, p.Sequence[1].Knock
	var out bytes.Buffer
	g := newProgress(p, (&say.Printer{W: &out, Terminal: true}).Line(), details)
	event := func(attempt, step int, k protocol.Knock) {
		e := client.Progress{Step: step}
		e.Attempt, e.Knock, e.Check = attempt, k, step == len(p.Sequence)
		g.observe(e)
	}
	mysql := protocol.Knock{Proto: protocol.TCP, Port: 3306}
	event(1, 0, icmp)
	event(1, 0, icmp) // the other family: nothing new to show
	event(1, 1, back)
	event(1, 2, mysql)
	event(2, 0, icmp)
	event(1, 2, mysql) // a late reply to the first attempt
	for _, l := range strings.Split(out.String(), "\r")[1:] {
		lines = append(lines, strings.TrimSuffix(l, "\x1b[K"))
	}
	return lines
}
