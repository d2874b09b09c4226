package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"knockkit/internal/lab/labtest"
)

// TestTheRootOfAUserNamespaceInstallsAndRemoves: of the files below /proc it may read fewer.
func TestTheRootOfAUserNamespaceInstallsAndRemoves(t *testing.T) {
	labtest.NeedRoot(t)
	labtest.Need(t, "unshare", "nft", "iptables", "ip6tables-restore")
	binary, dir := demoBinary(t), t.TempDir()
	profile := filepath.Join(dir, "profiles", "mysql.toml")
	err := errors.Join(os.Mkdir(filepath.Dir(profile), 0o700), os.WriteFile(profile, []byte(articleProfile), 0o600))
	for _, file := range []string{dir, filepath.Dir(profile), profile} {
		err = errors.Join(err, os.Chown(file, nobody, nobody))
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, backend := range []string{"iptables", "nftables", "auto"} {
		settings := filepath.Join(dir, "knockd.toml")
		if err := errors.Join(os.WriteFile(settings, []byte("backend = \""+backend+"\"\n"), 0o600), os.Chown(settings, nobody, nobody)); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), "unshare", "--map-root-user", "--net", "sh", "-c", `"$0" --config "$1" install && "$0" --config "$1" remove --all`, binary, dir)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		cmd.Dir = "/" // which everybody may enter
		out, err := cmd.CombinedOutput()
		if strings.HasPrefix(string(out), "unshare: ") && os.Getenv("CI") != "true" {
			t.Skipf("no user namespaces here:\n%s", out)
		}
		if err != nil || !strings.Contains(string(out), "installed: mysql") || !strings.Contains(string(out), "removed: mysql") {
			t.Errorf("%s: %v\n%s", backend, err, out)
		}
	}
}

// TestTheRootOfAUserNamespaceGivesKeys: it gets less room for a message to the kernel.
func TestTheRootOfAUserNamespaceGivesKeys(t *testing.T) {
	labtest.NeedRoot(t)
	labtest.Need(t, "unshare", "nft")
	binary, dir := demoBinary(t), t.TempDir()
	profile := filepath.Join(dir, "profiles", "admin.toml")
	err := errors.Join(os.Mkdir(filepath.Dir(profile), 0o700), os.WriteFile(profile, []byte("signed = { carrier = \"icmp\" }\nopen = [\"2222/tcp\"]\n"), 0o600))
	for _, file := range []string{dir, filepath.Dir(profile), profile} {
		err = errors.Join(err, os.Chown(file, nobody, nobody))
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "unshare", "--map-root-user", "--net", "sh", "-c",
		`"$0" --config "$1" install && "$0" --config "$1" key add alice admin --audience db1 && "$0" --config "$1" status --check`, binary, dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	cmd.Dir = "/"
	out, err := cmd.CombinedOutput()
	if strings.HasPrefix(string(out), "unshare: ") && os.Getenv("CI") != "true" {
		t.Skipf("no user namespaces here:\n%s", out)
	}
	if err != nil || !strings.Contains(string(out), "knock://admin/") || strings.Contains(string(out), "the kernel does not know of it") {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestAProfileThatIsClosedToTheUserIsNeverCalledBroken: profiles are secrets, and an ordinary user may
// often see that there is one, and no more.
func TestAProfileThatIsClosedToTheUserIsNeverCalledBroken(t *testing.T) {
	labtest.NeedRoot(t)
	s := newSite(t)
	dir, err := os.MkdirTemp("/tmp", "knockd") // where another user can come to
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	file := filepath.Join(dir, "profiles", "mysql.toml")
	if err := errors.Join(os.Chmod(dir, 0o755), os.Mkdir(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(mysql), 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ line, says string }{
		{"profile list", "mysql    unreadable"},
		{"profile list --json", `"error": "open ` + file + `: permission denied"`},
		{"profile check", "knockd: error: open " + file + ": permission denied\n"},
		{"profile check mysql", "permission denied"},
		{"profile check " + file, "permission denied"},
		{"profile show mysql", "permission denied"},
		{"profile link mysql --host db1", "permission denied"},
		{"profile edit mysql", "permission denied"},
		{"profile add " + file, "permission denied"},
		{"profile remove mysql", ""},
		{"explain mysql", "permission denied"},
		{"graph", "permission denied"},
		{"render", "permission denied"},
		{"install mysql --dry-run", "permission denied"},
		{"status", ""},
		{"doctor", "could not look at the file of profile mysql: open " + file + ": permission denied"},
		{"doctor --json", `"id": "unseen",`},
	} {
		cmd := exec.Command(program(t), strings.Fields(c.line)...)
		cmd.Env, cmd.Dir = []string{"KNOCKD_CONFIG=" + dir, "PATH=" + os.Getenv("PATH")}, "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		var said strings.Builder
		cmd.Stdout, cmd.Stderr = &said, &said
		_ = labtest.Start(t, s.host, cmd)() // the exit code says the same
		out := said.String()
		if code := cmd.ProcessState.ExitCode(); code != 4 || !strings.Contains(out, c.says) || !strings.Contains(out, "hint: run it as root") {
			t.Errorf("%s: exit %d\n%s", c.line, code, out)
		}
		for _, word := range []string{"mysql    broken", "is broken:", "\nbroken ", `"broken"`, "has errors", "has an error"} {
			if strings.Contains(out, word) {
				t.Errorf("%s says %q:\n%s", c.line, word, out)
			}
		}
	}
}
