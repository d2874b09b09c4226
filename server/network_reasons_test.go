package server

import (
	"net/netip"
	"testing"

	"knockkit/protocol"
)

// host has an interface of every kind that this kernel may not have.
func host() Network {
	addrs := func(all ...string) []netip.Addr {
		var addrs []netip.Addr
		for _, a := range all {
			addrs = append(addrs, netip.MustParseAddr(a))
		}
		return addrs
	}
	return Network{
		Links: []Link{
			{Name: "lo", Loopback: true, Addrs: addrs("127.0.0.1", "::1")},
			{Name: "eth0", Others: []string{"enp0s3", "uplink"}, Addrs: addrs("198.51.100.1", "2001:db8::1", "fe80::1")},
			{Name: "br0", Kind: "bridge", Addrs: addrs("198.51.100.17")},
			{Name: "v0", Kind: "veth", Master: "br0", Others: []string{"port0"}},
			{Name: "bond0", Kind: "bond", Master: "br0"},
			{Name: "eth1", Master: "bond0"},
			{Name: "bond1", Kind: "bond", Addrs: addrs("198.51.100.33")},
			{Name: "eth2", Master: "bond1"},
			{Name: "team0", Kind: "team", Addrs: addrs("198.51.100.49")},
			{Name: "eth3", Master: "team0"},
			{Name: "blue", Kind: "vrf"},
			{Name: "eth4", Master: "blue", Addrs: addrs("198.51.100.65")},
			{Name: "ovs-system", Kind: "openvswitch"},
			{Name: "eth5", Master: "ovs-system"},
			{Name: "eth6", Addrs: addrs("fe80::6")},
			{Name: "eth6.10", Kind: "vlan", Parent: "eth6", Addrs: addrs("198.51.100.81")},
			{Name: "eth7", Addrs: addrs("198.51.100.97")},
			{Name: "mac0", Kind: "macvlan", Parent: "eth7", Addrs: addrs("198.51.100.98")},
			{Name: "dummy0", Kind: "dummy", Addrs: addrs("198.51.100.113")},
			{Name: "wg0", Kind: "wireguard"},
			{Name: "wlan0"}, // down
		},
		Routed: []netip.Prefix{netip.MustParsePrefix("198.51.100.192/28")},
	}
}

func TestAnInterfaceThatNoPacketComesInByIsNamedWithWhatToWrite(t *testing.T) {
	const ways = "eth0, br0, bond1, team0, eth6.10, eth7, mac0"
	for name, want := range map[string]string{
		"eth0": "", "br0": "", "bond1": "", "team0": "", "blue": "", "eth6.10": "", "eth7": "", "mac0": "", "wg0": "", "wlan0": "",
		"v0":     "v0 is a port of br0: write br0",
		"enp0s3": "enp0s3 is another name of eth0: write eth0",
		"port0":  "port0 is another name of v0, which is a port of br0: write br0",
		"eth1":   "eth1 is part of bond0, which is a port of br0: write br0",
		"eth2":   "eth2 is part of bond1: write bond1",
		"eth3":   "eth3 is part of team0: write team0",
		"eth4":   "eth4 is a member of blue: write blue",
		"eth5":   "eth5 is a port of ovs-system: write the internal port that has the host's address, as `ovs-vsctl show` and `ip address` show it",
		"eth6":   "eth6 is without an address, and packets to 198.51.100.81 arrive on eth6.10 itself: write eth6.10",
		"lo":     "lo is loopback, which is never gated: leave `interface` out, or write one that others come by: " + ways,
		"dummy0": "dummy0 is a dummy, by which nothing comes in: leave `interface` out, or write one that others come by: " + ways,
		"eht0":   "there is no interface eht0 (did you mean eth0?): write eth0 (if eht0 comes later: not there now; the gate works as soon as it is)",
		"ens160": "there is no interface ens160: write one that others come by: " + ways + " (if ens160 comes later: not there now; the gate works as soon as it is)",
	} {
		reasons := host().GatesNothing(&protocol.Profile{Name: "mysql", Interface: name})
		got := ""
		for _, r := range reasons {
			got += r.String()
			if r.Kind != ReasonInterface || r.Profile != "mysql" || r.Why == "" {
				t.Errorf("%+v", r)
			}
		}
		if want != "" {
			want = "profile mysql gates nothing: " + want
		}
		if got != want {
			t.Errorf("%s:\n%s\nwant\n%s", name, got, want)
		}
	}
}

func TestAHostWithoutInterfacesHasNoneToOffer(t *testing.T) {
	reasons := Network{}.GatesNothing(&protocol.Profile{Name: "mysql", Interface: "eth0"})
	const want = "profile mysql gates nothing: there is no interface eth0: write one that others come by: there is none now (if eth0 comes later: not there now; the gate works as soon as it is)"
	if len(reasons) != 1 || reasons[0].String() != want {
		t.Errorf("%v", reasons)
	}
}

func TestMastersThatGoInACircleEnd(t *testing.T) {
	n := Network{Links: []Link{{Name: "a", Master: "b"}, {Name: "b", Master: "a"}}}
	if found := n.GatesNothing(&protocol.Profile{Interface: "a"}); len(found) != 1 {
		t.Error(found)
	}
}

func TestAPrefixOfToThatIsNobodysIsNamedWithWhatToWrite(t *testing.T) {
	n := host()
	n.Links = n.Links[:3]
	const four = `write what others come to: "198.51.100.1/32", "198.51.100.17/32"`
	for to, want := range map[string]string{
		"198.51.100.1/32": "", "198.51.100.0/24": "", "0.0.0.0/0": "", "2001:db8::/32": "", "fe80::/10": "", "198.51.100.192/28": "",
		"198.51.100.9/32":    "no address of this host lies there: " + four + " (if an address comes later: not there now; the gate works as soon as it is)",
		"198.51.100.31/32":   "no address of this host lies there: " + four + " (if an address comes later: not there now; the gate works as soon as it is)", // a broadcast address
		"255.255.255.255/32": "no address of this host lies there: " + four + " (if an address comes later: not there now; the gate works as soon as it is)",
		"126.0.0.0/7":        "no address of this host lies there: " + four + " (if an address comes later: not there now; the gate works as soon as it is)",
		"127.0.0.0/8":        "loopback is never gated: " + four,
		"127.0.0.1/32":       "loopback is never gated: " + four,
		"224.0.0.0/4":        "it is multicast, to which nobody can connect: " + four,
		"::1/128":            `loopback is never gated: write what others come to: "2001:db8::1/128"`,
		"2001:db8:1::/48":    `no address of this host lies there: write what others come to: "2001:db8::1/128" (if an address comes later: not there now; the gate works as soon as it is)`,
	} {
		p := &protocol.Profile{Name: "mysql", To: []netip.Prefix{netip.MustParsePrefix(to)}}
		reasons := n.GatesNothing(p)
		got := ""
		for _, r := range reasons {
			got += r.String()
			if r.Kind != ReasonTo || r.Profile != "mysql" || r.Why == "" {
				t.Errorf("%+v", r)
			}
		}
		if want != "" {
			want = "profile mysql gates nothing at " + to + ": " + want
		}
		if got != want {
			t.Errorf("%s:\n%s\nwant\n%s", to, got, want)
		}
		p.Family = protocol.IPv4
		if p.To[0].Addr().Is4() {
			p.Family = protocol.IPv6
		}
		if len(n.GatesNothing(p)) > 0 {
			t.Errorf("%s is of no meaning to a profile of %s", to, p.Family)
		}
	}
	p := &protocol.Profile{Name: "mysql", To: []netip.Prefix{netip.MustParsePrefix("198.51.100.9/32"), netip.MustParsePrefix("198.51.100.1/32")}}
	if len(n.GatesNothing(p)) != 1 {
		t.Error("one of two addresses is nobody's, and that is not said")
	}
}
