package main

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"

	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
	"knockkit/protocol"
)

// publication is a way to lead 3306/tcp elsewhere. In its rules FAM is the family as nft
// calls it, HERE and THERE the host's addresses on both wires, FRIEND a source, BOX the
// container; TABLES is iptables or ip6tables.
type publication struct {
	name  string
	rules []string
	says  []string // of the finding; none: nothing is said
	in    string   // who gets in: see arrivals
}

// dnat is the target of most.
const dnat = " -p tcp --dport 3306 -j DNAT --to-destination BOX:80"

var publications = []publication{
	{"to all", []string{"TABLES -t nat -A PREROUTING" + dnat}, []string{"DNAT"}, "HTF"},
	{"by an interface", []string{"TABLES -t nat -A PREROUTING -i tun0" + dnat}, []string{", for packets that come in by tun0: "}, "HF"},
	{"not by the other", []string{"TABLES -t nat -A PREROUTING ! -i tun1" + dnat}, []string{", for packets that do not come in by tun1: "}, "HF"},
	{"not by a container's", []string{"TABLES -t nat -A PREROUTING ! -i docker0" + dnat}, []string{"DNAT"}, "HTF"},
	{"by a container's only", []string{"TABLES -t nat -A PREROUTING -i docker0" + dnat}, nil, ""},
	{"to an address", []string{"TABLES -t nat -A PREROUTING -d HERE" + dnat}, []string{", for packets that go to HERE"}, "HF"},
	{"to another's address", []string{"TABLES -t nat -A PREROUTING -d ELSEWHERE" + dnat}, nil, ""},
	{"to loopback", []string{"TABLES -t nat -A PREROUTING -d LOOPBACK" + dnat}, nil, ""},
	{"from a source", []string{"TABLES -t nat -A PREROUTING -s FRIEND" + dnat}, []string{", for packets that come from FRIEND"}, "F"},
	{"from loopback", []string{"TABLES -t nat -A PREROUTING -s LOOPBACK" + dnat}, nil, ""},
	{"all of them", []string{"TABLES -t nat -A PREROUTING -s FRIEND -d HERE -i tun0" + dnat}, []string{"come from FRIEND", " and go to HERE", " and come in by tun0"}, "F"},
	{"with a mark", []string{"TABLES -t mangle -A PREROUTING -s FRIEND -j MARK --set-mark 1", "TABLES -t nat -A PREROUTING -m mark --mark 1" + dnat},
		[]string{", for packets that match `--mark 0x1`"}, "F"},
	{"except a source", []string{"TABLES -t nat -A PREROUTING -s FRIEND -j RETURN", "TABLES -t nat -A PREROUTING" + dnat},
		[]string{", except packets that come from FRIEND"}, "HT"},
	{"except where it is accepted", []string{"TABLES -t nat -A PREROUTING -i tun0 -s FRIEND -j ACCEPT", "TABLES -t nat -A PREROUTING" + dnat},
		[]string{", except packets that come from FRIEND", " and come in by tun0"}, "HT"},
	{"as docker -p ADDR:3306:80", []string{"TABLES -t nat -N DOCKER", "TABLES -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER",
		"TABLES -t nat -A DOCKER -i docker0 -j RETURN", "TABLES -t nat -A DOCKER -d THERE ! -i docker0" + dnat}, []string{"chain DOCKER", ", for packets that go to THERE"}, "T"},
	{"as docker -p LOOPBACK:3306:80", []string{"TABLES -t nat -N DOCKER", "TABLES -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER",
		"TABLES -t nat -A DOCKER -d LOOPBACK ! -i docker0" + dnat}, nil, ""},
	{"as CNI", []string{"TABLES -t nat -N CNI-HOSTPORT-DNAT", "TABLES -t nat -N CNI-DN-1", "TABLES -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT",
		"TABLES -t nat -A CNI-HOSTPORT-DNAT -p tcp -m multiport --dports 22,3306 -j CNI-DN-1", "TABLES -t nat -A CNI-DN-1" + dnat}, []string{"chain CNI-DN-1"}, "HTF"},
	{"as kube-proxy", []string{"TABLES -t nat -N KUBE-NODEPORTS", "TABLES -t nat -N KUBE-SVC-1", "TABLES -t nat -N KUBE-SEP-1", "TABLES -t nat -N KUBE-SEP-2",
		"TABLES -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS", "TABLES -t nat -A KUBE-NODEPORTS -p tcp --dport 3306 -j KUBE-SVC-1",
		"TABLES -t nat -A KUBE-SVC-1 -m statistic --mode random --probability 0.5 -j KUBE-SEP-1", "TABLES -t nat -A KUBE-SVC-1 -j KUBE-SEP-2",
		"TABLES -t nat -A KUBE-SEP-1" + dnat, "TABLES -t nat -A KUBE-SEP-2" + dnat}, []string{"chain KUBE-SEP-2"}, "HTF"},
	{"to another port of the host", []string{"TABLES -t nat -A PREROUTING -p tcp --dport 3306 -j REDIRECT --to-ports 3307"},
		[]string{"REDIRECT", "open the other port in the profile too"}, "HTF"},
	{"to itself", []string{"TABLES -t nat -A PREROUTING -p tcp --dport 13306 -j REDIRECT --to-ports 3306", "TABLES -t nat -A PREROUTING -i tun0 -p tcp --dport 3306 -j REDIRECT"}, nil, ""},

	{"by nft, by an interface", []string{"nft dnat iifname tun0 tcp dport 3306 dnat to BOX:80"}, []string{", for packets that come in by tun0"}, "HF"},
	{"by nft, to local addresses", []string{"nft dnat fib daddr type local meta l4proto tcp th dport { 22, 3300-3310 } dnat to BOX:80"}, []string{"chain pre of table FAM pods"}, "HTF"},
	{"by nft, to an address", []string{"nft dnat FAM daddr HERE tcp dport 3306 dnat to BOX:80"}, []string{", for packets that go to HERE"}, "HF"},
	{"by nft, to others' addresses", []string{"nft dnat FAM daddr { LOOPBACK, ELSEWHERE } tcp dport 3306 dnat to BOX:80"}, nil, ""},
	{"by nft, from a set of prefixes", []string{"nft set friends { type FAM_addr; flags interval; elements = { FRIEND/BITS }; }", "nft dnat FAM saddr @friends tcp dport 3306 dnat to BOX:80"},
		[]string{", for packets that come from @friends"}, "F"},
	{"by nft, from others only", []string{"nft dnat FAM saddr != FRIEND tcp dport 3306 dnat to BOX:80"}, []string{", for packets that do not come from FRIEND"}, "HT"},
	{"by nft, to a set of ports", []string{"nft set ports { type inet_service; elements = { 22, 3306 }; }", "nft dnat tcp dport @ports dnat to BOX:80"}, []string{"tcp dport @ports"}, "HTF"},
	{"by nft, to a set of others' ports", []string{"nft set ports { type inet_service; elements = { 22, 3307 }; }", "nft dnat tcp dport @ports dnat to BOX:80"}, nil, ""},
	{"by an nft map", []string{"nft dnat meta l4proto tcp dnat to tcp dport map { 22 : BOX, 3306 : BOX }"}, []string{"dnat"}, "HTF"},
	{"by an nft map of others", []string{"nft dnat meta l4proto tcp dnat to tcp dport map { 22 : BOX, 3307 : BOX }"}, nil, ""},
	{"by an nft map of verdicts with a name", []string{"nft chain db { tcp dport 3306 dnat to BOX:80; }", "nft map nodeports { type inet_proto . inet_service : verdict; elements = { tcp . 22 : drop, tcp . 3306 : goto db }; }",
		"nft dnat fib daddr type local meta l4proto . th dport vmap @nodeports"}, []string{"chain db of table FAM pods"}, "HTF"},
	{"by an nft map of interfaces", []string{"nft chain db { tcp dport 3306 dnat to BOX:80; }", "nft map ways { type ifname : verdict; elements = { tun1 : jump db, docker0 : accept }; }",
		"nft dnat iifname vmap @ways"}, []string{", for packets that come in by tun1"}, "T"},
	{"by an nft redirect", []string{"nft dnat iifname tun1 tcp dport 3306 redirect to :3307"}, []string{", for packets that come in by tun1", "open the other port in the profile too"}, "T"},
}

// arrivals are strangers: by the wire on which the host is HERE, by that on which it is
// THERE, and a friend.
var arrivals = []struct {
	letter string
	wire   int
	source int
}{{"H", 0, 1}, {"T", 1, 1}, {"F", 0, friend}}

const friend = 0x10 // of no other's prefix of 28 bits, or of 124

// dock is a host with two ways in and a container behind it.
type dock struct {
	*site
	port  uint16 // the source port of the last packet
	wires []*lab.Wire
	box   *lab.Host
	guest int
}

func newDock(s *site) *dock {
	d := &dock{site: s, port: 20000, box: labtest.NewHost(s.t, "container")}
	d.wires = []*lab.Wire{labtest.Wire(s.t, s.host), labtest.Wire(s.t, s.host)}
	labtest.Join(s.t, s.host, d.box)
	bridge, here := s.host.Interfaces[2], d.box.Interfaces[0]
	for _, name := range []string{"ipv4/ip_forward", "ipv6/conf/all/forwarding"} {
		if err := s.host.Sysctl(name, "1"); err != nil {
			s.t.Fatal(err)
		}
	}
	for to, via := range map[string]netip.Addr{"0.0.0.0/0": bridge.Addr4.Addr(), "::/0": bridge.Addr6.Addr()} {
		if err := d.box.AddRoute(netip.MustParsePrefix(to), here.Name, via); err != nil {
			s.t.Fatal(err)
		}
	}
	// The name that says what is behind it. IPv6 addresses go when it is down.
	d.tool("", "sh", "-ec", fmt.Sprintf(`ip link set %s down; ip link set %s name docker0; ip link set docker0 up
ip -6 addr replace %s dev docker0 nodad`, bridge.Name, bridge.Name, bridge.Addr6))
	labtest.Listen(s.t, d.box, "tcp", "[::]:80")
	labtest.Listen(s.t, s.host, "tcp", "[::]:3306")
	labtest.Listen(s.t, d.box, "tcp", "[::]:3306")
	labtest.Listen(s.t, s.host, "tcp", "[::]:3307")
	return d
}

// load brings a publication's rules in, and one for 8080/tcp that nobody gates.
func (d *dock) load(t *testing.T, family protocol.Family, p publication) {
	t.Helper()
	tool, text := map[protocol.Family]string{protocol.IPv4: "iptables", protocol.IPv6: "ip6tables"}[family], ""
	chain := ""
	for _, line := range append([]string{"TABLES -t nat -A PREROUTING -p tcp --dport 8080 -j DNAT --to-destination BOX:80"}, p.rules...) {
		line = d.named(family, line)
		if rest, ok := strings.CutPrefix(line, "nft dnat "); ok {
			chain += rest + "; "
		} else if rest, ok := strings.CutPrefix(line, "nft "); ok {
			text += rest + "\n"
		} else {
			words := strings.Fields(strings.Replace(line, "TABLES", tool, 1))
			d.tool("", words[0], words[1:]...)
		}
	}
	if chain != "" {
		text = d.named(family, "table FAM pods {\n"+text+"chain pre { type nat hook prerouting priority dstnat - 5; "+chain+"}\n}\n")
		d.tool(text, "nft", "-f", "-")
	}
}

// named puts the addresses of a family into a text.
func (d *dock) named(family protocol.Family, text string) string {
	box, here, there := d.box.Addr4.String(), d.host.Addr4, d.host.Interfaces[1].Addr4.Addr()
	names := []string{"FAM_", "ipv4_", "FAM", "ip", "LOOPBACK", "127.0.0.1", "ELSEWHERE", "203.0.113.9"}
	if family == protocol.IPv6 {
		box, here, there = "["+d.box.Addr6.String()+"]", d.host.Addr6, d.host.Interfaces[1].Addr6.Addr()
		names = []string{"FAM_", "ipv6_", "FAM", "ip6", "LOOPBACK", "::1", "ELSEWHERE", "2001:db8:77::9"}
	}
	if !strings.Contains(text, "BOX:") {
		box = strings.Trim(box, "[]")
	}
	names = append(names, "BITS", fmt.Sprint(here.BitLen()-4), "THERE", there.String(), "HERE", here.String(), "FRIEND", source(family, friend).String(), "BOX", box)
	return strings.NewReplacer(names...).Replace(text)
}

func source(family protocol.Family, i int) netip.Addr {
	if family == protocol.IPv4 {
		return lab.ForgedAddr4(i)
	}
	return lab.ForgedAddr6(i)
}

// unload takes the rules away.
func (d *dock) unload(t *testing.T, family protocol.Family) {
	t.Helper()
	tool := map[protocol.Family]string{protocol.IPv4: "iptables", protocol.IPv6: "ip6tables"}[family]
	d.try("", "nft", "delete", "table", d.named(family, "FAM"), "pods") // it need not be there
	d.tool("", tool, "-t", "nat", "-F")
	d.tool("", tool, "-t", "nat", "-X")
	for line := range strings.Lines(d.tool("", tool+"-save", "-t", "mangle")) {
		if rest, ok := strings.CutPrefix(line, "-A "); ok && !strings.Contains(line, "KNOCKD") {
			d.tool("", "sh", "-c", tool+" -t mangle -D "+rest)
		}
	}
}

// lets returns the letters of those who get in.
func (d *dock) lets(t *testing.T, family protocol.Family) (in string) {
	t.Helper()
	d.answered()
	ports := map[uint16]string{}
	for _, a := range arrivals {
		ports[d.syn(t, family, a.wire, source(family, a.source), 3306)] = a.letter
	}
	got := d.waited(t, family)
	for _, a := range arrivals {
		if slices.ContainsFunc(got, func(port uint16) bool { return ports[port] == a.letter }) {
			in += a.letter
		}
	}
	return in
}

// waited returns the ports of clients that were answered by now: the answer to
// 8080/tcp, which nobody gates, tells when no other can come any more.
func (d *dock) waited(t *testing.T, family protocol.Family) []uint16 {
	t.Helper()
	d.guest++
	control := d.syn(t, family, 0, source(family, 1000+d.guest), 8080)
	var all []uint16
	labtest.Eventually(t, soon, func() error {
		all = append(all, d.answered()...)
		if !slices.Contains(all, control) {
			return fmt.Errorf("8080/tcp, which nobody gates, does not answer")
		}
		return nil
	})
	return all
}

// syn lets a SYN come in by a wire, and returns the port that it is from.
func (d *dock) syn(t *testing.T, family protocol.Family, wire int, from netip.Addr, port uint16) uint16 {
	t.Helper()
	d.port++
	to := d.host.Interfaces[wire].Addr4.Addr()
	if family == protocol.IPv6 {
		to = d.host.Interfaces[wire].Addr6.Addr()
	}
	if err := d.wires[wire].Inject(lab.SYN(netip.AddrPortFrom(from, d.port), netip.AddrPortFrom(to, port))); err != nil {
		t.Fatal(err)
	}
	return d.port
}

// answered returns the ports of clients that a SYN/ACK was sent to.
func (d *dock) answered() []uint16 {
	d.t.Helper()
	var all []uint16
	for _, w := range d.wires {
		raw, err := w.Drain()
		if err != nil {
			d.t.Fatal(err)
		}
		for _, r := range raw {
			if p, err := lab.Parse(r); err == nil && p.Proto == protocol.TCP && p.Flags.Has(lab.FlagSYN|lab.FlagACK) {
				all = append(all, p.DstPort)
			}
		}
	}
	return all
}

// TestAPortThatIsPublishedToSomeIsSaidToBe: who gets in is found out with packets, and
// that is what install, status and doctor say; with the gate in front of destination
// NAT nobody gets in, and nothing is said.
func TestAPortThatIsPublishedToSomeIsSaidToBe(t *testing.T) {
	atOnce(t, func(t *testing.T, s *site) {
		d := newDock(s)
		d.profile("mysql", mysql)
		d.must("install")
		for i, p := range publications {
			t.Run(p.name, func(t *testing.T) {
				for _, family := range protocol.Families() {
					d.load(t, family, p)
					defer d.unload(t, family)
					if in := d.lets(t, family); in != p.in {
						t.Errorf("over %s %q get in, want %q", family, in, p.in)
					}
				}
				d.tells(t, p, askedOf(i))
				if p.in == "" {
					return // and any advice would be too much
				}
				d.profile("mysql", mysql+"place = \"prerouting\"\n")
				defer func() {
					d.profile("mysql", mysql)
					d.must("install")
				}()
				if said := d.must("install").Stderr; strings.Contains(said, "warning") {
					t.Errorf("with the gate in front of it:\n%s", said)
				}
				for _, family := range protocol.Families() {
					if in := d.lets(t, family); in != "" {
						t.Errorf("with the gate in front of it %q get in over %s", in, family)
					}
				}
			})
		}
	})
}

// tells fails unless the commands say of both families what a publication does, and
// nothing else.
func (d *dock) tells(t *testing.T, p publication, commands []string) {
	t.Helper()
	const words = "3306/tcp of profile mysql goes elsewhere before the gate, by "
	for _, command := range commands {
		if command == "doctor" {
			d.examined(t, p)
			continue
		}
		out := d.must(command)
		said := out.Stdout + out.Stderr
		if len(p.says) == 0 && (strings.Contains(said, "warning") || strings.Contains(said, "not in force")) {
			t.Errorf("knockd %s says\n%s", command, said)
		}
		for _, family := range protocol.Families() {
			of := "(iptables-[a-z]+, " + family.String() + ")|table " + d.named(family, "FAM") + " pods"
			if len(p.says) > 0 && !slices.ContainsFunc(strings.Split(said, "\n"), func(line string) bool {
				all := strings.Contains(line, words) && regexp.MustCompile(of).MatchString(line)
				for _, part := range p.says {
					all = all && strings.Contains(line, d.named(family, part))
				}
				return all
			}) {
				t.Errorf("knockd %s does not say %q over %s but\n%s", command, p.says, family, said)
			}
		}
	}
}

// examined fails unless doctor calls it broken where strangers get in, be it some of them.
func (d *dock) examined(t *testing.T, p publication) {
	t.Helper()
	out := d.knockd("doctor", "--json")
	found := diagnose(t, out.Stdout)
	broken := len(p.says) > 0
	if found.has("published", "broken") != broken || found.has("published", "warning") || out.Code != map[bool]int{true: 1}[broken] {
		t.Errorf("doctor ends with %d and says\n%s", out.Code, out.Stdout)
	}
}

// TestTheEarlyGateIsInFrontOfEveryNATChain: the kernel asks chains of type nat when it
// comes to NAT, whatever priority they were given.
func TestTheEarlyGateIsInFrontOfEveryNATChain(t *testing.T) {
	atOnce(t, func(t *testing.T, s *site) {
		d := newDock(s)
		for _, family := range protocol.Families() {
			d.load(t, family, publication{})
			d.tool(d.named(family, "table FAM pods { chain pre { type nat hook prerouting priority -160; tcp dport 3306 dnat to BOX:80; }; }"), "nft", "-f", "-")
		}
		for place, in := range map[string]string{"": "HTF", "place = \"prerouting\"\n": ""} {
			d.profile("mysql", mysql+place)
			if said := d.must("install").Stderr; strings.Contains(said, "goes elsewhere before the gate") != (in != "") {
				t.Errorf("with %q it says\n%s", place, said)
			}
			for _, family := range protocol.Families() {
				if got := d.lets(t, family); got != in {
					t.Errorf("with %q over %s %q get in, want %q", place, family, got, in)
				}
			}
		}
	})
}

// TestAPortThatIsPublishedOnLoopbackIsOpenToNeighbours: destination NAT comes before
// the kernel looks whether such a packet may come in at all. Over IPv6 it looks first.
func TestAPortThatIsPublishedOnLoopbackIsOpenToNeighbours(t *testing.T) {
	atOnce(t, func(t *testing.T, s *site) {
		d := newDock(s)
		for _, family := range protocol.Families() {
			d.load(t, family, publication{rules: []string{"TABLES -t nat -A PREROUTING -d LOOPBACK" + dnat}})
		}
		enters := func(family protocol.Family) bool {
			t.Helper()
			from, to := source(family, 1), netip.MustParseAddr(d.named(family, "LOOPBACK"))
			d.port++
			if err := d.wires[0].Inject(lab.SYN(netip.AddrPortFrom(from, d.port), netip.AddrPortFrom(to, 3306))); err != nil {
				t.Fatal(err)
			}
			port := d.port
			return slices.Contains(d.waited(t, family), port)
		}
		says := func() bool {
			t.Helper()
			out := d.must("doctor", "--json")
			found := diagnose(t, out.Stdout)
			if found.has("published", "warning") || strings.Contains(out.Stdout, "::1") {
				t.Errorf("doctor says\n%s", out.Stdout)
			}
			return found.has("published", "note")
		}
		expect := func(when string, want bool) {
			t.Helper()
			if in, said := enters(protocol.IPv4), says(); in != want || said != want {
				t.Errorf("%s: a neighbour gets in: %v, doctor says so: %v", when, in, said)
			}
			if enters(protocol.IPv6) {
				t.Errorf("%s: a neighbour gets in over IPv6", when)
			}
		}
		d.profile("mysql", mysql)
		if said := d.must("install").Stderr; strings.Contains(said, "warning") {
			t.Errorf("install says\n%s", said)
		}
		expect("published", true)
		d.tool("", "iptables", "-t", "raw", "-A", "PREROUTING", "-d", "127.0.0.1/32", "!", "-i", "lo", "-p", "tcp", "--dport", "3306", "-j", "DROP")
		expect("as Docker 28 does it", false)
		d.tool("", "iptables", "-t", "raw", "-F")
		d.profile("mysql", mysql+"place = \"prerouting\"\n")
		d.must("install")
		expect("with the gate in front of it", false)
	})
}
