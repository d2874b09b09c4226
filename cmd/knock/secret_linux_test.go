package main

import (
	"strings"
	"testing"

	"knockkit/internal/command"
	"knockkit/internal/lab/labtest"
)

// TestAKnockThatCannotBeSentIsNotNamed: what a user sends to others, or a log keeps, must not have
// the sequence in it.
func TestAKnockThatCannotBeSentIsNotNamed(t *testing.T) {
	l := newLaptop(t, labtest.NewHost(t, "laptop"), map[string]string{ // it has no link, so no route
		"tcp":  "sequence = [\"31461/tcp\"]\nopen = [\"22/tcp\"]\nclose = \"31462/udp\"\n",
		"udp":  "sequence = [\"31461/udp\"]\nopen = [\"22/tcp\"]\n",
		"icmp": "sequence = [\"icmp\"]\nopen = [\"22/tcp\"]\n",
	})
	for _, host := range []string{"198.51.100.1", "2001:db8::1"} {
		reason := "cannot send to " + host + ": network is unreachable"
		for _, c := range []struct {
			name string
			args []string
			code int
		}{
			{"tcp", []string{"tcp@" + host, "-q"}, command.Failed},
			{"udp", []string{"udp@" + host}, command.Failed},
			{"icmp", []string{"icmp@" + host}, command.Failed},
			{"as JSON", []string{"udp@" + host, "--json"}, command.Failed},
			{"to close", []string{"close", "tcp@" + host}, command.Failed},
			{"to carry a connection", []string{"proxy", "tcp", host, "22"}, command.Failed},
			{"without a profile", []string{host, "31461:udp"}, command.Failed},
		} {
			t.Run(c.name+" to "+host, func(t *testing.T) {
				p, code := l.run(c.args...)
				said := p.stdout.String() + p.stderr.String()
				if code != c.code || !strings.Contains(said, reason) {
					t.Errorf("exit %d, want %d with %q\n%s", code, c.code, reason, said)
				}
				for _, secret := range []string{"3146", "/udp", "echo"} {
					if strings.Contains(said, secret) {
						t.Errorf("%q is in what it says: %s", secret, said)
					}
				}
			})
		}
	}
}
