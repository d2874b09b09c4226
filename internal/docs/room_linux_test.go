package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"testing"

	"knockkit/internal/kernel/iptables"
)

// TestOneSizeOfRecencyTablesIsRecommended: by the pages, and by the package's file.
func TestOneSizeOfRecencyTablesIsRecommended(t *testing.T) {
	said := regexp.MustCompile(`ip_list_tot=(\d+)`)
	found := map[string]bool{}
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !slices.Contains([]string{".md", ".conf", ".toml", ".yml", ".service"}, filepath.Ext(path)) {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range said.FindAllStringSubmatch(string(text), -1) {
			found[filepath.Base(path)] = true
			if m[1] != strconv.Itoa(iptables.TableSize) {
				t.Errorf("%s says %s, want %d", path, m[0], iptables.TableSize)
			}
		}
		return err
	})
	if err != nil || !found["00-knockkit.conf"] || !found["doctor.md"] {
		t.Errorf("found in %v: %v", found, err)
	}
}
