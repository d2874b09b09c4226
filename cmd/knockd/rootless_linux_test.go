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
