package classic_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"knockkit/internal/classic"
	"knockkit/internal/lab/labtest"
	"knockkit/protocol/format"
)

const debianKnockd = "/usr/sbin/knockd"

// The classic daemon says with -D what it reads. It must read the sequences that our
// profiles have, and refuse the files that we refuse, or of which we leave a faulty section.
func TestTheClassicDaemonReadsTheSameSequences(t *testing.T) {
	labtest.Need(t, debianKnockd)
	h := labtest.NewHost(t, "server")
	read, refused := 0, 0
	for name, archive := range golden(t) {
		config := archive.Files[0]
		if config.Name != "knockd.conf" {
			continue
		}
		file := filepath.Join(t.TempDir(), "knockd.conf")
		if err := os.WriteFile(file, config.Data, 0o600); err != nil {
			t.Fatal(err)
		}
		// Without an interface it ends as soon as it has read everything.
		out := labtest.Run(t, h, "", debianKnockd, "-D", "-c", file, "-i", "nowhere")
		says := out.Stdout + out.Stderr
		whole := strings.Contains(says, "could not open nowhere")
		im, err := classic.Read(config.Name, config.Data)
		var faults format.Diagnostics
		switch {
		case errors.As(err, &faults) && faults[0].Line > 0:
			refused++
			if whole {
				t.Errorf("%s: refused here, and the daemon takes it:\n%s", name, says)
			}
		case err == nil && !whole:
			refused++
			if len(im.Left) == 0 {
				t.Errorf("%s: the daemon refuses it, and all of it is imported:\n%s", name, says)
			}
		case err == nil && len(im.Profiles) > 0:
			read++
			for _, p := range im.Profiles {
				var knocks []string
				for _, s := range p.Parsed.Sequence {
					knocks = append(knocks, fmt.Sprintf("%d:%s", s.Knock.Port, s.Knock.Proto))
				}
				if want := fmt.Sprintf("config: %s: sequence: %s\n", p.Title, strings.Join(knocks, ",")); !strings.Contains(says, want) {
					t.Errorf("%s: the daemon does not say %q:\n%s", name, want, says)
				}
			}
		}
	}
	if read < 10 || refused < 2 {
		t.Errorf("%d files read and %d refused by both; want at least 10 and 2", read, refused)
	}
}
