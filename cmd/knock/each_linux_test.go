package main

import (
	"strings"
	"sync"
	"testing"

	"knockkit/internal/lab/labtest"
)

// TestACommandFindsItsHostOpenHoweverLongTheOneBeforeItTook: the leases of all hosts began
// when the first command did.
func TestACommandFindsItsHostOpenHoweverLongTheOneBeforeItTook(t *testing.T) {
	server, near := labtest.NewHost(t, "server"), labtest.NewHost(t, "laptop")
	labtest.Join(t, server, near)
	labtest.Need(t, "bash")
	labtest.Listen(t, server, "tcp", ":3306")
	const profile = mysqlProfile + "lease = \"2s\"\n"
	installGate(t, server, "mysql", profile)
	l := newLaptop(t, near, map[string]string{"mysql": profile})
	// A command outlasts the lease after it has connected.
	p, code := l.run("mysql", "--host", server.Addr4.String(), "--host", server.Addr6.String(), "--each", "--",
		"timeout", "10", "bash", "-c", "exec 3<>/dev/tcp/$KNOCK_ADDR/3306 && echo in && sleep 3")
	if code != 0 || p.stdout.String() != "in\nin\n" {
		t.Errorf("exit %d, %q\n%s", code, p.stdout, p.stderr)
	}
}

func TestLinesOfSeveralCommandsAreWholeAndSayWhose(t *testing.T) {
	for _, c := range []struct {
		name   string
		pieces []string
		want   string
	}{
		{"a line in pieces", []string{"a", "b", "\n"}, "db1: ab\n"},
		{"several lines in one piece", []string{"a\nb\nc", "d\n"}, "db1: a\ndb1: b\ndb1: cd\n"},
		{"a last line without an end", []string{"a\nb"}, "db1: a\ndb1: b\n"},
		{"an empty line", []string{"\n"}, "db1: \n"},
		{"nothing", nil, ""},
		{"a line that never ends is written in pieces", []string{strings.Repeat("x", maxLine), "y"}, "db1: " + strings.Repeat("x", maxLine) + "db1: y\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out strings.Builder
			w := &lineWriter{mu: new(sync.Mutex), to: &out, prefix: "db1: "}
			for _, piece := range c.pieces {
				if n, err := w.Write([]byte(piece)); n != len(piece) || err != nil {
					t.Fatal(n, err)
				}
			}
			w.flush()
			if out.String() != c.want {
				t.Errorf("%q, want %q", out.String(), c.want)
			}
		})
	}
}
