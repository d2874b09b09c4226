package docs

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"knockkit/internal/lab/labtest"
	"knockkit/protocol"
	"knockkit/protocol/format"
	"knockkit/server"
)

// mask is what the page leaves out of rules, as it says.
var mask = regexp.MustCompile(` --mask [^ ]* --rsource`)

// TestTheRulesInHowItWorksAreThoseThatTheExamplesBecome installs each example
// that an excerpt names, and looks for the excerpt's lines.
func TestTheRulesInHowItWorksAreThoseThatTheExamplesBecome(t *testing.T) {
	labtest.Need(t, "iptables")
	excerpts := only(blocks(t, "docs/how-it-works.md", "iptables", "text", "mermaid"), "iptables")
	if len(excerpts) < 5 {
		t.Errorf("how-it-works.md has %d excerpts of rules: some are lost", len(excerpts))
	}
	printed := map[string][]string{}
	for _, e := range excerpts {
		if printed[e.About] == nil {
			printed[e.About] = rulesOf(t, e.About)
		}
		for line := range strings.Lines(e.Text) {
			if line = strings.TrimSpace(line); !slices.Contains(printed[e.About], line) {
				t.Errorf("examples/%s.toml does not become the rule\n%s\nbut\n%s", e.About, line, strings.Join(printed[e.About], "\n"))
			}
		}
	}
}

// rulesOf installs an example on a host of its own and returns what `iptables -S`
// prints there, a rule each.
func rulesOf(t *testing.T, name string) []string {
	t.Helper()
	h := labtest.NewHost(t, "server")
	err := h.Do(func() error {
		b, _, err := server.OpenBackend(t.Context(), "iptables")
		if err != nil {
			return err
		}
		_, err = server.New(b, server.DefaultSettings()).Install(t.Context(), []*protocol.Profile{example(t, name)}, server.InstallOptions{})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(mask.ReplaceAllString(labtest.MustRun(t, h, "", "iptables", "-S"), ""), "\n")
}

// example reads a profile of the folder examples.
func example(t *testing.T, name string) *protocol.Profile {
	t.Helper()
	file := filepath.Join(root, "examples", name+".toml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	p, diagnostics := format.ParseProfile(file, text)
	if diagnostics.HasErrors() {
		t.Fatal(diagnostics)
	}
	return p
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "env", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}
