package main

import (
	"strings"
	"testing"

	"knockkit/internal/lab/labtest"
)

// TestStatusBesideCommandsSeesNoDrift: a commit is several transactions, and between them the
// rules are not those of the record.
func TestStatusBesideCommandsSeesNoDrift(t *testing.T) {
	eachBackendAtOnce(t, func(t *testing.T, s *served) {
		s.must("install")
		s.profile("other", "sequence = [\"7422/tcp\", \"3190/udp\"]\nopen = [\"80/tcp\"]\n")
		commands := s.command()
		script := `for i in $(seq 20); do "$@" install other && "$@" grant mysql 10.9.0.1 --for 5m && "$@" remove other || exit 1; done`
		commands.Path, commands.Args = "/bin/sh", append([]string{"sh", "-c", script, "sh"}, commands.Args...)
		var words strings.Builder
		commands.Stdout, commands.Stderr = &words, &words
		wait := labtest.Start(t, s.host, commands)
		done := make(chan error, 1)
		go func() { done <- wait() }()
		for n := 1; ; n++ {
			if out := s.knockd("status"); out.Code != 0 || strings.Contains(out.Stdout+out.Stderr, "drift") {
				t.Errorf("status %d: exit %d\n%s%s", n, out.Code, out.Stdout, out.Stderr)
			}
			select {
			case err := <-done:
				if err != nil || n < 5 {
					t.Errorf("after %d times status: %v\n%s", n, err, words.String())
				}
				return
			default:
			}
		}
	})
}
