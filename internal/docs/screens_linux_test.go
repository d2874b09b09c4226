package docs

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
)

// screen is what a command that goes on has said so far.
type screen struct {
	mu   sync.Mutex
	said bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.said.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.said.String()
}

// started starts a command that goes on, and waits until it has said a word.
func (r *reader) started(h *lab.Host, text, word string) (s *screen, end func()) {
	r.t.Helper()
	s = new(screen)
	cmd := r.command(Block{Text: "exec " + text})
	cmd.Stdout, cmd.Stderr = s, s
	wait := labtest.Start(r.t, h, cmd)
	s.until(r.t, word, 1)
	return s, func() {
		_ = cmd.Process.Signal(syscall.SIGINT)
		_ = wait()
	}
}

// until waits until a command has said a word so many times.
func (s *screen) until(t *testing.T, word string, times int) {
	t.Helper()
	labtest.Eventually(t, 20*time.Second, func() error {
		if strings.Count(s.String(), word) < times {
			return fmt.Errorf("%q is not %d times in %q", word, times, s)
		}
		return nil
	})
}

// differs are the parts of a screen that are another each time: how long something took, what is
// left, the time of day.
var differs = []*regexp.Regexp{
	regexp.MustCompile(`[0-9.]+ m?s\b`), regexp.MustCompile(`[0-9]+m [0-9]+s`), regexp.MustCompile(`[0-9]{2}:[0-9]{2}:[0-9]{2}`),
	regexp.MustCompile(`×[0-9]+`), // of ten packets, on a busy machine in two lines
}

func withoutTimes(text string) string {
	for _, d := range differs {
		text = d.ReplaceAllString(text, "TIME")
	}
	return text
}

func TestTheScreensOfThePageAreWhatTheProgramsShow(t *testing.T) {
	r := installed(t)
	labtest.Need(t, "nft")
	config := filepath.Join(r.dir, "etc/knockd")
	profile := strings.ReplaceAll(read(t, root+"/examples/mysql.toml"), "db1.example.com", r.server.Addr4.String())
	for file, text := range map[string]string{
		config + "/knockd.toml": "backend = \"nftables\"\n", config + "/profiles/mysql.toml": profile,
		filepath.Join(r.dir, "home/.config/knock/profiles/mysql.toml"): profile,
	} {
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r.run(r.server, Block{Text: "knockd install\n"})
	screens := map[string]string{}
	watch, endWatch := r.started(r.server, "knockd watch", "watching")
	screens["laptop knock mysql"] = r.run(r.laptop, Block{Text: "knock mysql\n"})
	screens["laptop knock status"] = r.run(r.laptop, Block{Text: "knock status\n"})
	screens["server knockd status"] = r.run(r.server, Block{Text: "knockd status\n"})
	watch.until(t, "open for", 1)
	forward, endForward := r.started(r.laptop, "knock forward mysql 13306", "listens for")
	r.run(r.server, Block{Text: "env -u SUDO_USER knockd revoke mysql --all\n"})
	watch.until(t, "revoked", 1)
	if c, err := r.laptop.Dial(t.Context(), "tcp", "127.0.0.1:13306"); err != nil {
		t.Fatal(err)
	} else {
		defer c.Close()
	}
	forward.until(t, "open for", 1)
	endForward()
	r.run(r.server, Block{Text: "env -u SUDO_USER knockd revoke mysql --all\n"})
	for range 10 {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond) // the SYN is gone then
		_, err := r.laptop.Dial(ctx, "tcp", net.JoinHostPort(r.server.Addr4.String(), "3306"))
		cancel()
		if err == nil {
			t.Fatal("the laptop got in")
		}
	}
	watch.until(t, "×", 1)
	endWatch()
	screens["forward"], screens["watch"] = forward.String(), watch.String()

	const page = "docs/screens.md"
	text := read(t, root+"/"+page)
	_, last, _ := strings.Cut(screens["watch"], "×")
	_, rest, _ := strings.Cut(last, "\n")
	screens["watch"] = strings.TrimSuffix(screens["watch"], rest)
	for about, said := range screens {
		said = strings.NewReplacer(r.server.Addr4.String(), "198.51.100.1", r.laptop.Addr4.String(), "198.51.100.2").Replace(said)
		for line := range strings.Lines(said) {
			if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > 80 {
				t.Errorf("%s: a line has %d columns: %s", about, n, line)
			}
		}
		head := "```text " + about + "\n"
		before, rest, found := strings.Cut(text, head)
		shown, after, closed := strings.Cut(rest, "```")
		if !found || !closed {
			t.Errorf("%s has no block %q", page, about)
		} else if *update {
			text = before + head + said + "```" + after
		} else if diff := cmp.Diff(withoutTimes(said), withoutTimes(shown)); diff != "" {
			t.Errorf("%s (-said +shown):\n%s", about, diff)
		}
	}
	if *update {
		if err := os.WriteFile(root+"/"+page, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
