package labtest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"knockkit/internal/lab"
)

// SSHD starts the machine's sshd on a port of a host, with keys of its own. It returns the
// options with which ssh logs in there as root.
func SSHD(t testing.TB, h *lab.Host, port int) []string {
	t.Helper()
	Need(t, "sshd", "ssh", "ssh-keygen")
	sshd, err := lab.FindTool("sshd")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"host", "user"} {
		MustRun(t, h, "", "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path(name))
	}
	config := fmt.Sprintf(`Port %d
HostKey %s
PidFile %s
AuthorizedKeysFile %s
StrictModes no
UsePAM no
PermitRootLogin yes
PasswordAuthentication no
Subsystem sftp internal-sftp
`, port, path("host"), path("pid"), path("user.pub"))
	// Where sshd separates its privileges; Debian's service makes it at boot.
	if err := errors.Join(os.MkdirAll("/run/sshd", 0o755), os.WriteFile(path("config"), []byte(config), 0o600)); err != nil {
		t.Fatal(err)
	}
	Start(t, h, exec.Command(sshd, "-D", "-f", path("config")))
	Eventually(t, 10*time.Second, func() error {
		c, err := h.Dial(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			c.Close()
		}
		return err
	})
	return []string{"-F", "none", "-i", path("user"), "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes",
		"-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=" + path("known"), "-o", "LogLevel=ERROR", "-o", "User=root"}
}
