package packaging

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"knockkit/internal/kernel/iptables"
)

// loading is a way by which xt_recent comes into the kernel.
type loading struct {
	name  string
	setup string // shell
	run   string // shell
	limit int    // ip_list_tot afterwards
	words string // that run says, as a regular expression
}

// packaged puts the package's file where modprobe looks.
const packaged = "cp /package.conf /usr/lib/modprobe.d/00-knockkit.conf\n"

// copied is where `make install` puts it.
const copied = "cp /package.conf /usr/local/lib/modprobe.d/00-knockkit.conf\n"

// asBefore leaves all as the loading before has left it.
const asBefore = ":\n"

// operators writes a file of the operator's.
func operators(name, line string) string {
	return fmt.Sprintf("echo '%s' > /etc/modprobe.d/%s\n", line, name)
}

func loadings() []loading {
	const (
		install = "knockd install"
		rule    = "iptables -A INPUT -m recent --name theirs --set"
		small   = `xt_recent remembers 100 addresses a table: `
		write   = small + ".*write `options xt_recent ip_list_tot=1000` into /etc/modprobe.d/knockd.conf and reboot"
		reboot  = small + ".*reboot, as it was loaded before modprobe was told ip_list_tot=1000"
	)
	size := iptables.TableSize
	return []loading{
		{"knockd alone", "", install, size, "installed: mysql"},
		{"knockd alone, its backend by name", "backend iptables\n", install, size, "installed: mysql"},
		{"the doctor's trial", "backend iptables\n", "knockd doctor", size, "1000 addresses a table"},
		{"a rule that is not ours", "", rule, 100, ""}, // or the next ones show nothing
		{"a rule that is not ours, with the package", packaged, rule, size, ""},
		{"a rule for IPv6 that is not ours, with the package", packaged, "ip6" + rule[2:], size, ""},
		{"a rule that is not ours, after make install", copied, rule, size, ""},
		{"systemd before the service, with the package", packaged, "/sbin/modprobe -abq xt_recent", size, ""},
		{"knockd that may not load modules, with the package", packaged, "/usr/bin/setpriv --bounding-set=-sys_module " + install, size, "installed: mysql"},
		{"an operator's file", operators("firewall.conf", "options xt_recent ip_list_tot=222"), install, 222, "xt_recent remembers 222 addresses"},
		{"an operator's file by the module's old name", operators("firewall.conf", "options ipt_recent ip_list_tot=2222"), install, 2222, "installed: mysql"},
		{"an operator's other option", operators("firewall.conf", "options xt_recent ip_list_perms=0600"), install, size, "installed: mysql"},
		{"an operator's file beside the package's", packaged + operators("firewall.conf", "options xt_recent ip_list_tot=2222"), install, 2222, "installed: mysql"},
		{"an operator's file beside the package's, and a rule", packaged + operators("01.conf", "options xt_recent ip_list_tot=2222"), rule, 2222, ""},
		{"an operator's file of the same name", packaged + operators("00-knockkit.conf", "options xt_recent ip_list_tot=0x8ae"), install, 2222, "installed: mysql"},
		{"the kernel's command line", packaged + "echo xt_recent.ip_list_tot=2222 > /tmp/cmdline; mount --bind /tmp/cmdline /proc/cmdline\n", install, 2222, "installed: mysql"},
		{"it was loaded before: install", "/sbin/modprobe xt_recent\n", install, 100, write},
		{"it was loaded before: status", asBefore, "knockd status", 100, small + "see: knockd doctor"},
		{"it was loaded before: doctor", asBefore, "knockd doctor", 100, write},
		{"it was loaded before the package came: install", "/sbin/modprobe xt_recent\nknockd install\n" + packaged, install, 100, reboot},
		{"knockd alone, with iptables-legacy", "legacy\n", install, size, "installed: mysql"},
	}
}

// prelude is the first process of the virtual machine, up to the loadings. busybox has a
// modprobe and a setpriv of its own, so those that are meant have a path.
const prelude = `#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/usr/sbin:/sbin:/usr/bin:/bin
mkdir -p /proc /sys /dev /tmp /run /etc/modprobe.d /usr/lib/modprobe.d /usr/local/lib/modprobe.d /etc/knockd/profiles
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
ip link set lo up
backend() { echo "backend = \"$1\"" > /etc/knockd/knockd.toml; }
legacy() { for f in ip ip6; do for n in '' -save -restore; do ln -sf xtables-legacy-multi /usr/sbin/${f}tables$n; done; done; }
clean() {
	nft flush ruleset
	grep -q cmdline /proc/mounts && umount /proc/cmdline
	rm -f /etc/modprobe.d/* /usr/lib/modprobe.d/* /usr/local/lib/modprobe.d/* /etc/knockd/knockd.toml
	/sbin/modprobe -r xt_recent
}
echo 'sequence = ["7421/tcp", "3190/udp", "9002/tcp"]
open = ["3306/tcp"]' > /etc/knockd/profiles/mysql.toml
`

// script is all that the virtual machine does.
func script(all []loading) string {
	var b strings.Builder
	b.WriteString(prelude)
	for _, l := range all {
		if l.setup != asBefore {
			b.WriteString("clean\n")
		}
		fmt.Fprintf(&b, "%s{ %s; echo exit $?; } > /tmp/said 2>&1\necho \"loading %s\"\ncat /tmp/said\necho limit $(cat /sys/module/xt_recent/parameters/ip_list_tot)\n",
			l.setup, l.run, l.name)
	}
	b.WriteString("echo the end\npoweroff -f\n")
	return b.String()
}

// loadsWithRoom boots a kernel in which xt_recent is a module.
func loadsWithRoom(t *testing.T, deb string) {
	vm := newVM(t)
	vm.run("dpkg-deb", "-x", deb, vm.dir+"/package")
	vm.copies(vm.dir+"/package/usr/sbin/knockd", "/usr/sbin/knockd")
	vm.copies(vm.dir+"/package/usr/lib/modprobe.d/00-knockkit.conf", "/package.conf")
	all := loadings()
	said := vm.boots(script(all))
	if !strings.Contains(said, "\nthe end\n") {
		t.Fatalf("the virtual machine has said\n%s", said)
	}
	for _, l := range all {
		_, part, _ := strings.Cut(said, "loading "+l.name+"\n")
		part, _, _ = strings.Cut(part, "loading ")
		if !strings.Contains(part, fmt.Sprintf("limit %d\n", l.limit)) || !regexp.MustCompile(l.words).MatchString(part) ||
			l.run == "knockd install" && !strings.Contains(part, "exit 0\n") {
			t.Errorf("%s: want a limit of %d and %q, it says\n%s", l.name, l.limit, l.words, part)
		}
	}
}
