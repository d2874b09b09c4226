package format

import (
	"bufio"
	"errors"
	"os"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"knockkit/protocol"
)

func TestAKnockIsAPingAPortOrAService(t *testing.T) {
	for text, want := range map[string]protocol.Knock{
		"icmp":         {Proto: protocol.ICMP},
		"1/tcp":        {Proto: protocol.TCP, Port: 1},
		"65535/udp":    {Proto: protocol.UDP, Port: 65535},
		"echo/tcp":     {Proto: protocol.TCP, Port: 7},
		"echo/udp":     {Proto: protocol.UDP, Port: 7},
		"ftp-data/tcp": {Proto: protocol.TCP, Port: 20},
		"www/tcp":      {Proto: protocol.TCP, Port: 80}, // another name of http
	} {
		if got, err := ParseKnock(text); err != nil || got != want {
			t.Errorf("%q: %v, %v; want %v", text, got, err, want)
		}
	}
}

func TestARangeIsOnePortOrTwoWithAHyphen(t *testing.T) {
	for text, want := range map[string]protocol.PortRange{
		"3306/tcp":         {Proto: protocol.TCP, First: 3306, Last: 3306},
		"mysql/tcp":        {Proto: protocol.TCP, First: 3306, Last: 3306},
		"6000-6010/tcp":    {Proto: protocol.TCP, First: 6000, Last: 6010},
		"6000-6000/tcp":    {Proto: protocol.TCP, First: 6000, Last: 6000},
		"1-65535/udp":      {Proto: protocol.UDP, First: 1, Last: 65535},
		"ftp-data/tcp":     {Proto: protocol.TCP, First: 20, Last: 20}, // a name, not a range from "ftp" to "data"
		"ftp-data-ftp/tcp": {Proto: protocol.TCP, First: 20, Last: 21},
		"ftp-ssh/tcp":      {Proto: protocol.TCP, First: 21, Last: 22},
		"x11-6010/tcp":     {Proto: protocol.TCP, First: 6000, Last: 6010},
	} {
		if got, err := ParsePortRange(text); err != nil || got != want {
			t.Errorf("%q: %v, %v; want %v", text, got, err, want)
		}
	}
}

func TestWhatAKnockPrintsIsReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := anyKnock().Draw(t, "knock")
		if got, err := ParseKnock(k.String()); err != nil || got != k {
			t.Fatalf("%v: %v, %v", k, got, err)
		}
		r := anyRange().Draw(t, "range")
		if got, err := ParsePortRange(r.String()); err != nil || got != r {
			t.Fatalf("%v: %v, %v", r, got, err)
		}
	})
}

func anyKnock() *rapid.Generator[protocol.Knock] {
	return rapid.Custom(func(t *rapid.T) protocol.Knock {
		if k := (protocol.Knock{Proto: rapid.SampledFrom([]protocol.Proto{protocol.ICMP, protocol.TCP, protocol.UDP}).Draw(t, "proto")}); k.Proto == protocol.ICMP {
			return k
		} else {
			k.Port = rapid.Uint16Min(1).Draw(t, "port")
			return k
		}
	})
}

func anyRange() *rapid.Generator[protocol.PortRange] {
	return rapid.Custom(func(t *rapid.T) protocol.PortRange {
		first := rapid.Uint16Min(1).Draw(t, "first")
		last := rapid.Uint16Range(first, 65535).Draw(t, "last")
		return protocol.PortRange{Proto: rapid.SampledFrom([]protocol.Proto{protocol.TCP, protocol.UDP}).Draw(t, "proto"), First: first, Last: last}
	})
}

func TestASyntaxErrorPointsAtThePartThatIsWrong(t *testing.T) {
	for text, part := range map[string]string{
		"ehco/tcp":   "ehco",
		"70000/tcp":  "70000",
		"8000/sctp":  "sctp",
		"8000":       "8000",
		"8000 / tcp": "8000 / tcp",
		"":           "",
	} {
		_, err := ParseKnock(text)
		var e *SyntaxError
		if !errors.As(err, &e) {
			t.Fatalf("%q: %v is no SyntaxError", text, err)
		}
		if got := e.Text[e.Start:e.End]; got != part || e.Text != text || e.Hint == "" {
			t.Errorf("%q: %q is marked, want %q; hint %q", text, got, part, e.Hint)
		}
	}
}

func TestALongKnockIsRefusedWithAShortMessageAtOnce(t *testing.T) {
	for _, text := range []string{
		strings.Repeat("a-", 30000) + "/tcp",
		strings.Repeat("9", 60000) + "/tcp",
		strings.Repeat("x", 60000),
		strings.Repeat("x ", 30000),
		"8000/" + strings.Repeat("x", 60000),
	} {
		for _, parse := range []func(string) error{
			func(s string) error { _, err := ParseKnock(s); return err },
			func(s string) error { _, err := ParsePortRange(s); return err },
		} {
			var e *SyntaxError
			if err := parse(text); !errors.As(err, &e) || len(e.Message)+len(e.Hint) > 200 {
				t.Errorf("%.20q…: %v", text, err)
			}
		}
	}
}

// Our list is a copy of facts. Where the host has its own, the two must agree:
// else one profile would mean two ports.
func TestOurServicesHaveThePortsOfTheHostsList(t *testing.T) {
	f, err := os.Open(servicesFile)
	if err != nil {
		t.Skipf("no list to compare with: %v", err)
	}
	f.Close()
	compared := 0
	eachService(strings.NewReader(commonServices), func(names []string, port uint16, proto protocol.Proto) bool {
		f, err := os.Open(servicesFile)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for _, name := range names {
			if _, err := f.Seek(0, 0); err != nil {
				t.Fatal(err)
			}
			if theirs, known := findService(f, name, proto); known {
				compared++
				if theirs != port {
					t.Errorf("%s/%s is %d here and %d in %s", name, proto, port, theirs, servicesFile)
				}
			}
		}
		return true
	})
	if compared < 20 {
		t.Errorf("only %d names could be compared", compared)
	}
}

func TestEveryLineOfOurServicesIsRead(t *testing.T) {
	lines, read := 0, 0
	for s := bufio.NewScanner(strings.NewReader(strings.TrimSpace(commonServices))); s.Scan(); {
		lines++
	}
	eachService(strings.NewReader(commonServices), func([]string, uint16, protocol.Proto) bool { read++; return true })
	if lines != read || lines == 0 {
		t.Errorf("%d of %d lines are services", read, lines)
	}
}
