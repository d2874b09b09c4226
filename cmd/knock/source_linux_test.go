package main

import (
	"fmt"
	"net/netip"
	"os"
	"testing"
	"time"

	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
	"knockkit/protocol"
)

// twoUplinks is a server behind two uplinks of a laptop. Its service has addresses of its own, which
// the laptop's routes reach over the first.
type twoUplinks struct {
	near    *lab.Host
	uplinks [2]*lab.Link
	service map[protocol.Family]netip.Addr
	laptop  *laptop
}

func newTwoUplinks(t *testing.T) *twoUplinks {
	t.Helper()
	server, near := labtest.NewHost(t, "server"), labtest.NewHost(t, "laptop")
	u := &twoUplinks{near: near, service: map[protocol.Family]netip.Addr{
		protocol.IPv4: netip.MustParseAddr("198.51.100.250"), protocol.IPv6: netip.MustParseAddr("2001:db8:0:ff::1")}}
	for i := range u.uplinks {
		u.uplinks[i] = labtest.Connect(t, server, near, lab.Conditions{})
		for _, family := range []string{"-4", "-6"} {
			labtest.MustRun(t, near, "", "ip", family, "route", "add", "default", "dev", near.Interfaces[i].Name, "metric", fmt.Sprint(100+i))
		}
	}
	for _, a := range u.service {
		if err := server.AddAddr("lo", netip.PrefixFrom(a, a.BitLen())); err != nil {
			t.Fatal(err)
		}
	}
	installGate(t, server, "ssh", sshProfile)
	go greet(labtest.Listen(t, server, "tcp", ":2222"))
	u.laptop = newLaptop(t, near, map[string]string{"ssh": sshProfile})
	return u
}

// addr returns the laptop's address on an uplink.
func (u *twoUplinks) addr(uplink int, f protocol.Family) netip.Addr {
	if f == protocol.IPv4 {
		return u.near.Interfaces[uplink].Addr4.Addr()
	}
	return u.near.Interfaces[uplink].Addr6.Addr()
}

// connect runs "knock proxy" until it is connected. It returns what went to the service over each
// uplink, as "198.51.100.2 1201/tcp".
func (u *twoUplinks) connect(t *testing.T, f protocol.Family, args ...string) (went [2]map[string]int) {
	t.Helper()
	var taps [2]*lab.Tap
	for i, l := range u.uplinks {
		taps[i] = l.Tap(1000)
	}
	in, input, err := os.Pipe() // never ends
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	defer input.Close()
	p := u.laptop.startWith(in, append([]string{"proxy", "ssh", u.service[f].String(), "2222"}, args...)...)
	labtest.Eventually(t, 10*time.Second, func() error { return p.stdout.says("hello") })
	_ = p.cmd.Process.Kill()
	_ = p.wait() // of the signal
	for i, tap := range taps {
		went[i] = map[string]int{}
		for _, packet := range parsed(t, tap, u.near) {
			k := protocol.Knock{Proto: packet.Proto, Port: packet.DstPort}
			if first := packet.Proto != protocol.TCP || packet.Flags == lab.FlagSYN; packet.Dst == u.service[f] && first {
				went[i][fmt.Sprintf("%s %s", packet.Src, k)]++
			}
		}
	}
	return went
}

func TestEverythingLeavesFromTheSourceOrOverTheInterface(t *testing.T) {
	u := newTwoUplinks(t)
	const table = "100" // of the second uplink: what comes from its address
	first := func(f protocol.Family) netip.Addr { return u.addr(0, f) }
	second := func(f protocol.Family) netip.Addr { return u.addr(1, f) }
	// unlikely is the address of the second uplink that the system does not choose when it has two:
	// the newer of IPv4, the older of IPv6.
	unlikely := func(f protocol.Family) netip.Addr {
		if f == protocol.IPv4 {
			return second(f).Next()
		}
		return second(f)
	}
	up := u.near.Interfaces[1]
	for _, c := range []struct {
		name   string
		source bool
		over   string // --interface
		rule   bool   // routes by source
		uplink int    // that the packets leave over
		from   func(protocol.Family) netip.Addr
	}{
		{"as the routes say", false, "", false, 0, first},
		{"over an interface", false, up.Name, false, 1, second},
		{"from an address", true, "", false, 0, second},
		{"from an address that has routes", true, "", true, 1, second},
		{"from an address over an interface", true, up.Name, false, 1, unlikely},
	} {
		if c.source && c.over != "" {
			for _, p := range []netip.Prefix{up.Addr4, up.Addr6} {
				if err := u.near.AddAddr(up.Name, netip.PrefixFrom(p.Addr().Next(), p.Bits())); err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, f := range protocol.Families() {
			for socket, group := range map[string]string{"raw": "1 0", "ping": "0 2147483647"} {
				t.Run(c.name+" "+f.Label()+" "+socket, func(t *testing.T) {
					if err := u.near.Sysctl("ipv4/ping_group_range", group); err != nil {
						t.Fatal(err)
					}
					if c.rule {
						family := map[protocol.Family]string{protocol.IPv4: "-4", protocol.IPv6: "-6"}[f]
						labtest.MustRun(t, u.near, "", "ip", family, "route", "replace", "default", "dev", up.Name, "table", table)
						rule := []string{"from", c.from(f).String(), "lookup", table}
						labtest.MustRun(t, u.near, "", "ip", append([]string{family, "rule", "add"}, rule...)...)
						defer labtest.MustRun(t, u.near, "", "ip", append([]string{family, "rule", "del"}, rule...)...)
					}
					var args []string
					if c.source {
						args = append(args, "--source", c.from(f).String())
					}
					if c.over != "" {
						args = append(args, "--interface", c.over)
					}
					went := u.connect(t, f, args...)
					if wrong := went[1-c.uplink]; len(wrong) > 0 {
						t.Errorf("over the other uplink went %v", wrong)
					}
					from := c.from(f).String()
					for kind, least := range map[string]int{"icmp": 1, "1201/tcp": 1, "1202/udp": 1, "2222/tcp": 2} { // the check, the connection
						if went[c.uplink][from+" "+kind] < least {
							t.Errorf("%s from %s: want at least %d of %v", kind, from, least, went[c.uplink])
						}
					}
					if n := len(went[c.uplink]); n != 4 {
						t.Errorf("%d kinds of packets from an address, want 4: %v", n, went[c.uplink])
					}
				})
			}
		}
	}
}
