package packaging

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"knockkit/internal/lab/labtest"
)

// kernel is Debian's, which the Makefile downloads.
const kernel = "../bin/kernel.deb"

// vm is a machine with a kernel of its own, emulated. Its files are this machine's tools
// and the kernel's modules for rules, below dir/root; it has no network.
type vm struct {
	t   *testing.T
	dir string
}

func newVM(t *testing.T) *vm {
	t.Helper()
	if runtime.GOARCH != "amd64" {
		t.Skip("the machine that is emulated is an amd64")
	}
	labtest.NeedRoot(t)
	labtest.Need(t, "qemu-system-x86_64", "cpio", "dpkg-deb", "depmod", "ldd")
	if _, err := os.Stat(kernel); err != nil && os.Getenv("CI") != "true" {
		t.Skipf("%v: make test-tools makes it", err)
	}
	m := &vm{t, t.TempDir()}
	for _, dir := range []string{"bin", "sbin", "lib", "lib64"} {
		if err := os.MkdirAll(m.path("/usr/"+dir), 0o755); err != nil {
			t.Fatal(err)
		}
		m.links("usr/"+dir, "/"+dir)
	}
	m.modules()
	for _, program := range []string{"/bin/busybox", "/bin/kmod", "/usr/bin/setpriv", "/usr/sbin/xtables-nft-multi", "/usr/sbin/xtables-legacy-multi", "/usr/sbin/nft"} {
		m.program(program)
	}
	extensions, err := filepath.Glob("/usr/lib/*/xtables/*.so")
	if err != nil || len(extensions) == 0 {
		t.Fatalf("no extensions of iptables: %v", err)
	}
	for _, file := range extensions {
		m.copies(file, file)
	}
	m.links("/bin/kmod", "/sbin/modprobe")
	for _, suffix := range []string{"", "-save", "-restore"} {
		m.links("xtables-nft-multi", "/usr/sbin/iptables"+suffix)
		m.links("xtables-nft-multi", "/usr/sbin/ip6tables"+suffix)
	}
	return m
}

// path is where a file of the machine is on this one.
func (m *vm) path(name string) string { return m.dir + "/root" + name }

func (m *vm) links(target, name string) {
	m.t.Helper()
	if err := os.Symlink(target, m.path(name)); err != nil {
		m.t.Fatal(err)
	}
}

// copies brings a file of this machine, unless it is there.
func (m *vm) copies(from, to string) {
	m.t.Helper()
	if _, err := os.Stat(m.path(to)); err == nil {
		return
	}
	data, err := os.ReadFile(from)
	if err != nil {
		m.t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(m.path(to)), 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(m.path(to), data, 0o755); err != nil {
		m.t.Fatal(err)
	}
}

var library = regexp.MustCompile(`/\S+`)

// program brings a program, with the libraries that it needs.
func (m *vm) program(name string) {
	m.t.Helper()
	m.copies(name, name)
	out, err := exec.CommandContext(m.t.Context(), "ldd", name).Output() // fails where it is static
	if err != nil && len(out) > 0 && !strings.Contains(string(out), "not a dynamic executable") {
		m.t.Fatalf("ldd %s: %v\n%s", name, err, out)
	}
	for _, file := range library.FindAllString(string(out), -1) {
		if !strings.HasSuffix(file, ":") {
			m.copies(file, file)
		}
	}
}

// modules brings those that rules need.
func (m *vm) modules() {
	m.t.Helper()
	m.run("dpkg-deb", "-x", kernel, m.dir+"/kernel")
	trees, err := filepath.Glob(m.dir + "/kernel/lib/modules/*")
	if err != nil || len(trees) != 1 {
		m.t.Fatalf("the kernel has modules in %v (%v)", trees, err)
	}
	version := filepath.Base(trees[0])
	to := m.path("/lib/modules/" + version)
	for _, part := range []string{"kernel/net/netfilter", "kernel/net/ipv4", "kernel/net/ipv6", "kernel/lib", "kernel/crypto", "kernel/arch"} {
		if err := os.CopyFS(filepath.Join(to, part), os.DirFS(filepath.Join(trees[0], part))); err != nil {
			m.t.Fatal(err)
		}
	}
	for _, file := range []string{"modules.order", "modules.builtin", "modules.builtin.modinfo"} {
		m.copies(filepath.Join(trees[0], file), "/lib/modules/"+version+"/"+file)
	}
	m.run("depmod", "-b", m.path(""), version)
}

// boots runs a script as the first process, and returns all that was written to the
// serial line until the machine went off.
func (m *vm) boots(script string) string {
	m.t.Helper()
	if err := os.WriteFile(m.path("/init"), []byte(script), 0o755); err != nil {
		m.t.Fatal(err)
	}
	m.run("sh", "-c", "cd "+m.path("")+" && find . | cpio --quiet -o -H newc > ../files")
	image, err := filepath.Glob(m.dir + "/kernel/boot/vmlinuz-*")
	if err != nil || len(image) != 1 {
		m.t.Fatalf("the kernel is %v (%v)", image, err)
	}
	ctx, cancel := context.WithTimeout(m.t.Context(), 7*time.Minute) // half a minute where nothing else runs
	defer cancel()
	// A slow emulator fails the kernel's own test of its timer.
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-m", "1024", "-nodefaults", "-nic", "none", "-display", "none",
		"-serial", "stdio", "-no-reboot", "-kernel", image[0], "-initrd", m.dir+"/files", "-append", "console=ttyS0 quiet panic=-1 no_timer_check")
	out, err := cmd.CombinedOutput()
	said := strings.ReplaceAll(string(out), "\r", "")
	if err != nil {
		m.t.Fatalf("the virtual machine: %v\n%s", err, said)
	}
	return said
}

// run runs a command of this machine.
func (m *vm) run(name string, args ...string) {
	m.t.Helper()
	if out, err := exec.CommandContext(m.t.Context(), name, args...).CombinedOutput(); err != nil {
		m.t.Fatalf("%s: %v\n%s", fmt.Sprint(name, args), err, out)
	}
}
