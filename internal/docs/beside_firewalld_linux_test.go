package docs

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// bus lets root talk on a message bus of the machine's own. It starts nobody.
const bus = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path=/run/dbus/system_bus_socket</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="root"/>
    <allow own="*"/>
    <allow send_destination="*"/>
    <allow receive_sender="*"/>
  </policy>
</busconfig>
`

// firewalld starts the daemon, and waits until it works.
func (m *machine) firewalld() *daemon {
	m.t.Helper()
	d := m.start("firewalld", "--nofork", "--nopid")
	// Its own command is slow: not before there are rules.
	m.eventually("firewalld has rules", soon, func() bool {
		return m.try("sh", "-c", "nft list table inet firewalld || iptables -n -L INPUT_ZONES").Code == 0
	})
	m.eventually("firewalld works", soon, func() bool { return m.try("firewall-cmd", "--state").Code == 0 })
	return d
}

func (m *machine) bus() {
	m.t.Helper()
	m.write("/etc/bus.conf", bus)
	m.start("dbus-daemon", "--config-file=/etc/bus.conf", "--nofork", "--nopidfile")
	m.eventually("the message bus works", soon, func() bool {
		_, err := os.Stat(filepath.Join(m.root, "run/dbus/system_bus_socket"))
		return err == nil
	})
}

func TestBesideFirewalld(t *testing.T) {
	t.Parallel()
	for _, theirs := range []string{"nftables", "iptables"} {
		t.Run("its backend is "+theirs, func(t *testing.T) {
			t.Parallel()
			each(t, []string{"firewalld", "dbus-daemon"}, func(t *testing.T, m *machine) {
				m.bus()
				// With iptables also what looks like the way to keep others' rules, and is not.
				flush := map[string]string{"nftables": "yes", "iptables": "no"}[theirs]
				m.sh(fmt.Sprintf("sed -i 's/^FirewallBackend=.*/FirewallBackend=%s/; s/^FlushAllOnReload=.*/FlushAllOnReload=%s/' /etc/firewalld/firewalld.conf", theirs, flush))
				m.serve()
				m.before()
				m.visit("firewalld is off")
				daemon := m.firewalld()
				m.types("firewalld-drop")
				m.repaired()
				m.visit("firewalld starts")
				if theirs == "nftables" || m.backend == "nftables" {
					m.warned("3306/tcp of profile mysql is dropped behind the gate, by firewalld: ", "`firewall-cmd --permanent --add-port=3306/tcp`, then `firewall-cmd --reload`")
				}
				if theirs == "nftables" && m.backend == "iptables" {
					m.eventually("the service says that the rules it has repaired are of no use", soon, func() bool {
						return m.service.says("is dropped behind the gate, by firewalld: ") > 0
					})
				}
				m.types("firewalld-port")
				m.repaired()
				m.visit("`firewall-cmd --add-port=3306/tcp`")
				m.warned()
				m.sh("firewall-cmd --reload")
				m.repaired()
				m.visit("`firewall-cmd --reload`")
				before := m.service.says(repairs)
				m.stop(daemon)
				if m.backend == "iptables" {
					m.eventually("the service repairs what firewalld takes away at its end", repair, func() bool { return m.service.says(repairs) > before })
				}
				m.repaired()
				m.visit("firewalld stops")
				m.stop(m.service)
				m.firewalld()
				m.visit("firewalld starts, and `knockd run` does not run")
				m.compare(fmt.Sprintf("firewalld with `FirewallBackend=%s`", theirs))
				m.sh("knockd remove --all")
				m.leavesAlone()
			})
		})
	}
}
