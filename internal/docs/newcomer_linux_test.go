package docs

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
)

// newcomer is somebody who types what the README says on two fresh Debian machines: an
// ordinary user, who is in both at home and may use sudo. The project's folder is on both.
type newcomer struct {
	*reader
	machines map[string]*labtest.Debian
}

func newNewcomer(t *testing.T) *newcomer {
	labtest.NeedRoot(t)
	labtest.Need(t, "make", "go")
	n := &newcomer{
		&reader{t: t, server: labtest.NewHost(t, "server"), laptop: labtest.NewHost(t, "laptop"), dir: t.TempDir()},
		map[string]*labtest.Debian{},
	}
	labtest.Join(t, n.server, n.laptop)
	n.copySources()
	for _, h := range []*lab.Host{n.server, n.laptop} {
		n.machines[h.Name] = n.fresh(h)
	}
	n.stubMySQL()
	n.startSSH()
	return n
}

// copySources makes a folder of the sources alone. It builds them once, so that what is
// compiled is in this machine's cache: the other two only link.
func (n *newcomer) copySources() {
	n.t.Helper()
	entries, err := os.ReadDir(root)
	if err != nil {
		n.t.Fatal(err)
	}
	sources := filepath.Join(n.dir, "knockkit")
	copying := []string{"cp", "-a", "-t", sources}
	for _, e := range entries {
		if !slices.Contains([]string{".git", "bin", "dist"}, e.Name()) {
			copying = append(copying, e.Name())
		}
	}
	for _, c := range [][]string{{"mkdir", sources}, copying, {"make", "build", "BIN=" + n.dir + "/bin"}, {"chown", "-R", "1000:1000", sources}} {
		cmd := exec.CommandContext(n.t.Context(), c[0], c[1:]...)
		cmd.Dir = root
		if out, err := cmd.CombinedOutput(); err != nil {
			n.t.Fatalf("%v: %v\n%s", c, err, out)
		}
	}
}

// fresh returns a machine as Debian's installer leaves it, with Go in /usr/local/go: on
// the user's PATH, not on that of sudo. What is compiled anew is for one command only.
func (n *newcomer) fresh(h *lab.Host) *labtest.Debian {
	n.t.Helper()
	// The lab lets everybody send pings; this Debian does not.
	if err := h.Sysctl("ipv4/ping_group_range", "1 0"); err != nil {
		n.t.Fatal(err)
	}
	d := labtest.NewDebian(n.t, root+"/bin/debian.tar", h)
	if d.Try("sudo", "--version").Code != 0 {
		n.t.Fatal("bin/debian.tar has no sudo: make test-tools makes it anew")
	}
	d.Inside("dpkg", "--purge", "knockd") // the classic daemon, for other tests
	d.Inside("useradd", "--create-home", "--shell", "/bin/bash", "--uid", "1000", "reader")
	d.Inside("mkdir", "-p", "/usr/local/go", "/var/cache/go-mod", "/var/cache/go-build", "/home/reader/knockkit", "/home/reader/.config/go", "/home/reader/.ssh")
	d.Write("/home/reader/.profile", "PATH=$PATH:/usr/local/go/bin\n", 0o644)
	d.Write("/home/reader/.config/go/env", "GOMODCACHE=/var/cache/go-mod\nGOCACHE=/var/cache/go-build\nGOPROXY=off\nGOTOOLCHAIN=local\n", 0o644)
	d.Inside("chown", "-R", "reader:reader", "/home/reader")
	d.Write("/etc/sudoers.d/reader", "reader ALL=(ALL:ALL) NOPASSWD: ALL\n", 0o440)
	name, err := os.Hostname()
	if err != nil {
		n.t.Fatal(err)
	}
	d.Write("/etc/hosts", fmt.Sprintf("127.0.0.1 localhost %s\n%s db1.example.com\n", name, n.server.Addr4), 0o644)
	d.Mounts = fmt.Sprintf(`
mount --bind %q "$tree/home/reader/knockkit"
mount --bind -o ro %q "$tree/usr/local/go"
mount --bind -o ro %q "$tree/var/cache/go-mod"
mount -t tmpfs tmpfs "$tree/media"
mkdir "$tree/media/new" "$tree/media/work"
mount -t overlay -o "lowerdir=$(realpath %q),upperdir=$tree/media/new,workdir=$tree/media/work" go-build "$tree/var/cache/go-build"
chown 1000:1000 "$tree"/var/cache/go-build "$tree"/var/cache/go-build/*/
`, n.dir+"/knockkit", goEnv(n.t, "GOROOT"), goEnv(n.t, "GOMODCACHE"), goEnv(n.t, "GOCACHE"))
	return d
}

// stubMySQL makes a client of MySQL that shows the server's greeting: the first that a
// client of the real one gets too.
func (n *newcomer) stubMySQL() {
	n.machines["laptop"].Write("/usr/bin/mysql", "#!/bin/bash\nexec 3<>\"/dev/tcp/$2/3306\"; head -n 1 <&3\n", 0o755)
}

// startSSH starts sshd on the server, where the laptop's user may log in.
func (n *newcomer) startSSH() {
	n.t.Helper()
	server, laptop := n.machines["server"], n.machines["laptop"]
	laptop.Inside("runuser", "-l", "reader", "-c", "ssh-keygen -q -t ed25519 -N '' -f .ssh/id_ed25519")
	server.Write("/home/reader/.ssh/authorized_keys", laptop.Inside("cat", "/home/reader/.ssh/id_ed25519.pub"), 0o644)
	laptop.Write("/etc/ssh/ssh_known_hosts", "db1.example.com "+server.Inside("cat", "/etc/ssh/ssh_host_ed25519_key.pub"), 0o644)
	c := server.Command("sh", "-c", "mkdir -p /run/sshd && exec /usr/sbin/sshd -D")
	labtest.Start(n.t, n.server, exec.Command(c[0], c[1:]...))
	labtest.Eventually(n.t, 20*time.Second, func() error {
		c, err := n.laptop.Dial(n.t.Context(), "tcp", netip.AddrPortFrom(n.server.Addr4, 22).String())
		if err == nil {
			c.Close()
		}
		return err
	})
}

// stubSystemctl starts the service without systemd, which runs on neither machine.
func (n *newcomer) stubSystemctl() {
	n.t.Helper()
	d := n.machines["server"]
	d.Write("/usr/local/sbin/systemctl", `#!/bin/sh
[ "$*" = "enable --now knockd" ] || exit 9
knockd run < /dev/null > /root/service.log 2>&1 &
echo $! > /root/service.pid
`, 0o755)
	n.t.Cleanup(func() {
		endService(n.t, d.Tree+"/root/service.pid")
		if n.t.Failed() {
			text, _ := os.ReadFile(d.Tree + "/root/service.log")
			n.t.Logf("%s", text)
		}
	})
}

// tries runs a block as the user on a machine.
func (n *newcomer) tries(machine string, b Block) lab.Output {
	n.t.Helper()
	d := n.machines[machine]
	d.Write("/home/reader/block", b.Text, 0o644)
	return d.Try("runuser", "-l", "reader", "-c", "cd knockkit && exec bash -euo pipefail ../block")
}

// types runs a block as [newcomer.tries] does, and returns all that is printed.
func (n *newcomer) types(machine string, b Block) string {
	n.t.Helper()
	out := n.tries(machine, b)
	said := out.Stdout + out.Stderr
	if out.Code != 0 {
		n.t.Fatalf("these commands on the %s end with %d:\n%s\n%s", machine, out.Code, b.Text, said)
	}
	return said
}
