package doctor_test

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"knockkit/internal/lab/labtest"
	"knockkit/server/doctor"
)

// soon is how long an interface may take to work after a change.
const soon = 10 * time.Second

// strangers fails unless a stranger's connections get the answer over both families,
// while a port that nobody gates refuses them: the host can be reached.
func (p *patient) strangers(answer string) {
	p.t.Helper()
	for network, addr := range map[string]string{"tcp4": p.host.Addr4.String(), "tcp6": p.host.Addr6.String()} {
		labtest.Eventually(p.t, soon, func() error {
			if got := p.connects(network, net.JoinHostPort(addr, "3307")); got != refused {
				return fmt.Errorf("%s: the host cannot be reached: %s", network, got)
			}
			if got := p.connects(network, net.JoinHostPort(addr, "3306")); got != answer {
				return fmt.Errorf("%s: a stranger's connection is %s, not %s", network, got, answer)
			}
			return nil
		})
	}
}

// becomes installs the profile in the place of all others.
func (p *patient) becomes(more string) {
	p.t.Helper()
	p.files = nil
	p.install(mysql(p.t, more))
}

// under puts the host's interface under another one, which gets its addresses: a VRF
// leaves them to its members.
func (p *patient) under(master, kind string) {
	p.t.Helper()
	addressed := master
	if kind == "vrf" {
		addressed = "eth0"
	}
	p.sh("ip link set eth0 down", "ip link set eth0 master "+master, "ip address flush dev eth0",
		"ip link set eth0 up", "ip link set "+master+" up",
		"ip address add "+p.host.Interfaces[0].Addr4.String()+" dev "+addressed,
		"ip -6 address add "+p.host.Interfaces[0].Addr6.String()+" dev "+addressed+" nodad")
}

func TestAnInterfaceThatNothingComesInByIsNoGateAndIsFound(t *testing.T) {
	for _, c := range []struct {
		name   string
		before func(p *patient)
		says   string
		wrong  string
		right  string
	}{
		{"a typo", nil, "there is no interface eht0 (did you mean eth0?)", "eht0", "eth0"},
		{"another name of it", func(p *patient) { p.sh("ip link property add dev eth0 altname enp0s3") },
			"enp0s3 is another name of eth0", "enp0s3", "eth0"},
		{"a bridge's port", func(p *patient) { p.sh("ip link add br0 type bridge"); p.under("br0", "bridge") },
			"eth0 is a port of br0", "eth0", "br0"},
		{"part of a bond", func(p *patient) { p.sh("ip link add bond0 type bond mode active-backup"); p.under("bond0", "bond") },
			"eth0 is part of bond0", "eth0", "bond0"},
		{"a member of a VRF", func(p *patient) { p.sh("ip link add blue type vrf table 10"); p.under("blue", "vrf") },
			"eth0 is a member of blue", "eth0", "blue"},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachBackend(t, func(t *testing.T, p *patient) {
				if kind := map[string]string{"part of a bond": "bond", "a member of a VRF": "vrf"}[c.name]; kind != "" && !p.knows(kind) {
					t.Logf("this kernel has no %s: what it would do is not tried", kind)
					return
				}
				if c.before != nil {
					c.before(p)
				}
				p.serve()
				p.becomes("interface = \"" + c.wrong + "\"\n")
				p.strangers(open)
				p.finds(doctor.IDInterface, doctor.Broken, "profile mysql gates nothing: "+c.says)
				p.does("write " + c.right)
				p.becomes("interface = \"" + c.right + "\"\n")
				p.strangers(silent)
				p.findsNo(doctor.IDInterface)
			})
		})
	}
}

// knows reports whether the kernel has interfaces of the kind.
func (p *patient) knows(kind string) bool {
	p.t.Helper()
	more := map[string]string{"vrf": " table 10"}[kind]
	out := labtest.Run(p.t, p.host, "", "ip", strings.Fields("link add probe type "+kind+more)...)
	if out.Code != 0 {
		if !strings.Contains(out.Stderr, "Unknown device type") {
			p.t.Fatal(out.Stderr)
		}
		return false
	}
	p.sh("ip link del probe")
	return true
}

// does fails unless a finding that is broken says to do this.
func (p *patient) does(todo string) {
	p.t.Helper()
	for _, f := range p.examine() {
		if f.Severity == doctor.Broken && strings.HasPrefix(f.Todo, todo) {
			return
		}
	}
	p.t.Errorf("nothing says to %s:\n%s", todo, list(p.examine()))
}

// TestAnInterfaceThatComesLaterIsGatedAsSoonAsItIsThere is why nothing is refused.
func TestAnInterfaceThatComesLaterIsGatedAsSoonAsItIsThere(t *testing.T) {
	eachBackend(t, func(t *testing.T, p *patient) {
		p.serve()
		p.becomes("interface = \"ppp0\"\n")
		p.strangers(open)
		p.finds(doctor.IDInterface, doctor.Broken, "there is no interface ppp0")
		p.does("write one that others come by: eth0 (if ppp0 comes later: not there now; the gate works as soon as it is)")
		p.sh("ip link set eth0 down", "ip link set eth0 name ppp0", "ip link set ppp0 up",
			"ip -6 address replace "+p.host.Interfaces[0].Addr6.String()+" dev ppp0 nodad")
		p.strangers(silent)
		p.findsNo(doctor.IDInterface)
	})
}

func TestALoopbackInterfaceIsNoGateAndIsFound(t *testing.T) {
	eachBackend(t, func(t *testing.T, p *patient) {
		p.serve()
		p.becomes("interface = \"lo\"\n")
		p.strangers(open)
		p.finds(doctor.IDInterface, doctor.Broken, "lo is loopback, which is never gated")
	})
}

func TestAnAddressThatIsNobodysIsNoGateAndIsFound(t *testing.T) {
	eachBackend(t, func(t *testing.T, p *patient) {
		p.serve()
		own4, own6 := p.host.Addr4.String(), p.host.Addr6.String()
		for _, wrong := range []string{`["198.51.100.200/32", "2001:db8:5::7/128"]`, `["127.0.0.1/32", "::1/128"]`, `["224.0.0.0/4", "ff02::/16"]`, `["198.51.100.15/32", "2001:db8::/128"]`} {
			p.becomes("to = " + wrong + "\n")
			p.strangers(open)
			p.finds(doctor.IDTo, doctor.Broken, "profile mysql gates nothing at ")
			p.does(`write what others come to: "` + own4 + `/32"`)
			p.does(`write what others come to: "` + own6 + `/128"`)
		}
		p.becomes(`to = ["198.51.100.200/32", "2001:db8:5::7/128"]` + "\n")
		p.does(`write what others come to: "` + own4 + `/32" (if an address comes later: not there now; the gate works as soon as it is)`)
		// It comes: one on an interface, the other by a route alone.
		p.sh("ip address add 198.51.100.200/32 dev eth0", "ip -6 route add local 2001:db8:5::7/128 dev lo")
		labtest.MustRun(t, p.stranger, "", "ip", "route", "add", "198.51.100.200", "via", own4)
		labtest.MustRun(t, p.stranger, "", "ip", "-6", "route", "add", "2001:db8:5::7", "via", own6)
		p.findsNo(doctor.IDTo)
		for network, addr := range map[string]string{"tcp4": "198.51.100.200:3306", "tcp6": "[2001:db8:5::7]:3306"} {
			if got := p.connects(network, addr); got != silent {
				t.Errorf("%s is %s", addr, got)
			}
		}
		p.becomes(`to = ["` + own4 + `/32", "` + own6 + `/128"]` + "\n")
		p.strangers(silent)
		p.findsNo(doctor.IDTo)
	})
}

// TestAddressesOfOneFamilyLeaveTheOtherOpen is what `profile check` warns of.
func TestAddressesOfOneFamilyLeaveTheOtherOpen(t *testing.T) {
	eachBackend(t, func(t *testing.T, p *patient) {
		p.serve()
		p.becomes(`to = ["` + p.host.Addr4.String() + `/32"]` + "\n")
		p.expect(silent)
		if got := p.connects("tcp6", net.JoinHostPort(p.host.Addr6.String(), "3306")); got != open {
			t.Errorf("over IPv6 it is %s", got)
		}
		p.findsNo(doctor.IDTo)
		p.finds(doctor.IDOtherFamily, doctor.Broken, "3306/tcp is open over ipv6")
	})
}
