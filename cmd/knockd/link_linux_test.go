package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"rsc.io/qr"

	"knockkit/internal/lab/labtest"
)

// TestALinkNeedsTheRightToReadTheProfile, which says the exit code 4 with the command for root.
func TestALinkNeedsTheRightToReadTheProfile(t *testing.T) {
	labtest.NeedRoot(t)
	dir, err := os.MkdirTemp("/tmp", "knockd") // where another user can come to
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	file := filepath.Join(dir, "profiles", "mysql.toml")
	if err := errors.Join(os.Chmod(dir, 0o755), os.Mkdir(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(mysql), 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []os.FileMode{0o700, 0o755} { // the folder cannot be read, and then the file
		if err := os.Chmod(filepath.Dir(file), mode); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(program(t), "profile", "link", "mysql", "--host", "db1")
		cmd.Env, cmd.Dir = []string{"KNOCKD_CONFIG=" + dir}, "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		out, _ := cmd.CombinedOutput() // the exit code says the same
		if code := cmd.ProcessState.ExitCode(); code != 4 || !strings.Contains(string(out), "knockd: hint: run it as root: sudo knockd profile link mysql --host db1\n") || strings.Contains(string(out), "knock://") {
			t.Errorf("mode %o: exit %d\n%s", mode, code, out)
		}
	}
}

// TestTheDrawnCodeIsTheLinks: each half of a character is a module, and the light ones are drawn.
func TestTheDrawnCodeIsTheLinks(t *testing.T) {
	s := newSite(t)
	s.profile("mysql", mysql)
	out := s.must("profile", "link", "mysql", "--host", "db1.example.com", "--qr")
	code, err := qr.Encode(strings.TrimSuffix(out.Stdout, "\n"), qr.L)
	if err != nil {
		t.Fatal(err)
	}
	light := map[rune][2]bool{' ': {false, false}, '▀': {true, false}, '▄': {false, true}, '█': {true, true}}
	lines := strings.Split(strings.TrimSuffix(out.Stderr, "\n"), "\n")
	const quiet = 4 // light modules around the code
	if want := (code.Size + 2*quiet + 1) / 2; len(lines) != want {
		t.Fatalf("%d lines, want %d:\n%s", len(lines), want, out.Stderr)
	}
	for i, line := range lines {
		drawn := []rune(line)
		if len(drawn) != code.Size+2*quiet {
			t.Fatalf("line %d has %d characters", i, len(drawn))
		}
		for j, r := range drawn {
			for half, isLight := range light[r] {
				y, x := 2*i+half-quiet, j-quiet
				if y < code.Size+quiet && isLight == code.Black(x, y) {
					t.Fatalf("the module %d, %d is drawn as %q", x, y, r)
				}
			}
		}
	}
}
