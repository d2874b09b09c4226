package main

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"knockkit/internal/lab"
)

// waitingFor is what a slow machine makes one of them say.
var waitingFor = regexp.MustCompile(`(?m)^knockd: waiting for knockd \(.*\)\n`)

// TestInstallsAtTheSameTimeDoNotInterleave starts eight, each of a profile of its
// own: none may work from what it read before another one's change.
func TestInstallsAtTheSameTimeDoNotInterleave(t *testing.T) {
	const processes = 8
	eachFlavour(t, func(t *testing.T, s *site) {
		for i := range processes {
			s.profile(fmt.Sprintf("p%d", i), fmt.Sprintf("sequence = [\"%d/tcp\", \"%d/udp\", \"%d/tcp\"]\nopen = [\"%d/tcp\"]\n", 21000+i, 22000+i, 23000+i, 24000+i))
		}
		type result struct {
			name string
			out  lab.Output
			err  error
		}
		results := make(chan result)
		for i := range processes {
			name := fmt.Sprintf("p%d", i)
			go func() {
				out, err := s.host.Run(t.Context(), "", program(t), "--config", s.config, "install", name)
				results <- result{name, out, err}
			}()
		}
		for range processes {
			r := <-results
			said := withoutTables(waitingFor.ReplaceAllString(r.out.Stderr, ""))
			if r.err != nil || r.out.Code != 0 || said != "knockd: installed: "+r.name+" (iptables)\n" {
				t.Errorf("%s: %v, exit %d, %s", r.name, r.err, r.out.Code, r.out.Stderr)
			}
		}
		out := s.must("status", "--check")
		if n := strings.Count(out.Stdout, " installed "); n != processes {
			t.Errorf("%d profiles are installed, not %d:\n%s", n, processes, out.Stdout)
		}
		if sources := s.form().Sources; len(sources) != 0 {
			t.Errorf("%v", sources)
		}
	})
}
