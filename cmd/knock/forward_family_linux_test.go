package main

import (
	"errors"
	"syscall"
	"testing"

	"knockkit/internal/lab/labtest"
)

func TestAForwardListensOnTheFamilyThatWasTypedAlone(t *testing.T) {
	near := labtest.NewHost(t, "laptop")
	l := newLaptop(t, near, map[string]string{"mysql": "host = \"198.51.100.1\"\n" + mysqlProfile})
	const v4, v6 = "127.0.0.1:13306", "[::1]:13306"
	for _, c := range []struct{ on, open, shut string }{
		{"0.0.0.0:13306", v4, v6},
		{"[::]:13306", v6, v4},
		{"[::ffff:127.0.0.1]:13306", v4, v6},
		{"13306", v4, v6},
	} {
		t.Run(c.on, func(t *testing.T) {
			f := l.forwarding("mysql:" + c.on)
			// Where it listens, a connection is made, and soon reset: no host is behind it.
			if err := connects(t, near, c.open); errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("%s: %v\n%s", c.open, err, f.stderr)
			}
			if err := connects(t, near, c.shut); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("%s: %v: it listens there too\n%s", c.shut, err, f.stderr)
			}
			f.end(t)
		})
	}
	l.forwarding("mysql:0.0.0.0:13306", "mysql:[::]:13306").end(t) // side by side
}
