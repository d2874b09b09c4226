//go:build linux

package labtest

import (
	"os"
	"os/exec"
	"testing"

	"knockkit/internal/lab"
)

// Debian is a system with files of its own, on the network of a host. Its kernel and
// its processes are this machine's.
type Debian struct {
	Host *lab.Host
	Tree string // its files, as this machine sees them

	// Mounts are shell commands that run as root before each command, and mount more
	// below "$tree".
	Mounts string

	t testing.TB
}

// NewDebian unpacks what `make test-tools` has made into tar. Without the file it skips
// the test; with CI=true it fails instead.
func NewDebian(t testing.TB, tar string, h *lab.Host) *Debian {
	t.Helper()
	NeedRoot(t)
	NeedTUN(t) // the demo uses one
	Need(t, "tar", "unshare", "pivot_root")
	if _, err := os.Stat(tar); err != nil {
		missing(t, "%v: make test-tools makes it", err)
	}
	d := &Debian{Host: h, Tree: t.TempDir(), t: t}
	if out, err := exec.CommandContext(t.Context(), "tar", "-C", d.Tree, "-xf", tar).CombinedOutput(); err != nil {
		t.Fatalf("tar: %v\n%s", err, out)
	}
	return d
}

// beside mounts what a running system has. TUN devices are for everybody, as udev makes
// them.
const beside = `set -e
tree=$1
shift
mount --bind "$tree" "$tree"
mount -t proc proc "$tree/proc"
mount -t sysfs sysfs "$tree/sys"
mount --rbind /dev "$tree/dev"
mount -t tmpfs tmpfs "$tree/dev/net"
mknod -m 666 "$tree/dev/net/tun" c 10 200
`

// inside leaves nothing of this machine's files: a user namespace, which the demo needs
// without root, cannot be made in a chroot.
const inside = `set -e
cd "$1"
shift
pivot_root . mnt
umount -l mnt
exec "$@"`

// Command returns what runs args as root inside the system, to be started on the host.
func (d *Debian) Command(args ...string) []string {
	return d.Mounted(append([]string{"sh", "-c", inside, "sh", d.Tree, "env", "-i",
		"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive"}, args...)...)
}

// Mounted returns what runs args of this machine where the system is mounted at Tree.
func (d *Debian) Mounted(args ...string) []string {
	return append([]string{"unshare", "--mount", "sh", "-c", beside + d.Mounts + "\nexec \"$@\"", "sh", d.Tree}, args...)
}

// Try runs a command as root inside the system.
func (d *Debian) Try(args ...string) lab.Output {
	d.t.Helper()
	c := d.Command(args...)
	return Run(d.t, d.Host, "", c[0], c[1:]...)
}

// Inside runs a command as root inside the system and returns its stdout. An exit status
// other than 0 fails the test.
func (d *Debian) Inside(args ...string) string {
	d.t.Helper()
	out := d.Try(args...)
	if out.Code != 0 {
		d.t.Fatalf("%v: exit status %d\n%s%s", args, out.Code, out.Stdout, out.Stderr)
	}
	return out.Stdout
}

// Write writes a file of the system's; path is as it is there.
func (d *Debian) Write(path, text string, mode os.FileMode) {
	d.t.Helper()
	if err := os.WriteFile(d.Tree+path, []byte(text), mode); err != nil {
		d.t.Fatal(err)
	}
}
