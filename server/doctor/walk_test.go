package doctor

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"knockkit/internal/kernel/backend"
	"knockkit/internal/kernel/iptables/save"
	"knockkit/protocol"
)

// TestAPacketsWayThroughRules follows a SYN to 3306/tcp over IPv4. The outcomes are
// written as verdicts, "?" behind those that are not certain; the last is the end.
func TestAPacketsWayThroughRules(t *testing.T) {
	for _, c := range []struct {
		name, rules, want string
	}{
		{"nothing", "", "accept"},
		{"another port, another protocol", "-A INPUT -p tcp -m tcp --dport 22 -j DROP\n-A INPUT -p udp -j DROP", "accept"},
		{"its port", "-A INPUT -p tcp -m tcp --dport 3306 -j DROP", "drop"},
		{"its port in a list", "-A INPUT -p tcp -m multiport --dports 22,3300:3310 -j DROP", "drop"},
		{"not its port", "-A INPUT -p tcp -m tcp ! --dport 3306 -j DROP", "accept"},
		{"a source", "-A INPUT -s 10.9.0.0/16 -j DROP", "drop? accept"},
		{"not a source", "-A INPUT ! -s 10.9.0.0/16 -j DROP", "drop? accept"},
		{"loopback", "-A INPUT -i lo -j DROP", "accept"},
		{"all but loopback", "-A INPUT ! -i lo -j DROP", "drop"},
		{"a container's bridge", "-A INPUT -i docker0 -j DROP\n-A INPUT -i br-0123456789ab -j DROP", "accept"},
		{"an interface", "-A INPUT -i eth0 -j DROP", "drop? accept"},
		{"what exists", "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n-A INPUT -j DROP", "drop"},
		{"what is new", "-A INPUT -m state --state NEW,ESTABLISHED -j DROP", "drop"},
		{"no SYN", "-A INPUT -p tcp -m tcp ! --tcp-flags FIN,SYN,RST,ACK SYN -j DROP", "accept"},
		{"no flags", "-A INPUT -p tcp -m tcp --tcp-flags FIN,SYN,RST,PSH,ACK,URG NONE -j DROP", "accept"},
		{"a target that decides nothing", "-A INPUT -j LOG --log-prefix \"x -j ACCEPT\"\n-A INPUT -j DROP", "drop"},
		{"a chain that comes back", ":A - [0:0]\n-A A -p udp -j ACCEPT\n-A INPUT -j A\n-A INPUT -j DROP", "drop"},
		{"a chain that returns", ":A - [0:0]\n-A A -p tcp -j RETURN\n-A A -j DROP\n-A INPUT -j A", "accept"},
		{"a chain that perhaps returns", ":A - [0:0]\n-A A -s 10.9.0.1 -j RETURN\n-A A -j DROP\n-A INPUT -j A", "drop? accept"},
		{"goto does not come back", ":A - [0:0]\n-A INPUT -g A\n-A INPUT -j DROP", "accept"},
		{"goto perhaps", ":A - [0:0]\n-A INPUT -s 10.9.0.1 -g A\n-A INPUT -j DROP", "drop? accept"},
		{"a circle", ":A - [0:0]\n-A A -j A\n-A INPUT -j A", "accept"},
		{"a match that nobody knows", "-A INPUT -m wonder --of world -j DROP", "drop? accept"},
		{"a match without an option", "-A INPUT -m socket -j DROP", "drop? accept"},
		{"a comment like an option", "-A INPUT -m comment --comment \"-s 10.9.0.1\" -j DROP", "drop"},
		{"sources of loopback", "-A INPUT -s 127.0.0.0/8 -j DROP\n-A INPUT ! -s 127.0.0.0/8 -j REJECT", "drop"},
		{"fragments", "-A INPUT -f -j DROP", "accept"},
		{"what TPROXY takes comes to INPUT as it is", "-A INPUT -p tcp -m tcp --dport 3306 -j TPROXY --on-port 1080", "accept"},
		{"a program decides", "-A INPUT -j NFQUEUE --queue-num 1\n-A INPUT -j DROP", "accept? drop"},
		{"a stranger may take any port", "-A INPUT -p tcp -m tcp --sport 53 -j ACCEPT\n-A INPUT -j DROP", "accept? drop"},
		{"what comes behind the end", ":A - [0:0]\n-A A -s 10.9.0.1 -j RETURN\n-A A -j DROP\n-A A -j ACCEPT\n-A INPUT -j A", "drop? accept"},
	} {
		t.Run(c.name, func(t *testing.T) {
			chains, err := chainsOf("iptables-nft", protocol.IPv4, "*filter\n:INPUT ACCEPT [0:0]\n"+c.rules+"\nCOMMIT\n")
			if err != nil {
				t.Fatal(err)
			}
			p := packet{Family: protocol.IPv4, Knock: protocol.Knock{Proto: protocol.TCP, Port: 3306}}
			if got := words(hostOf(chains).walk(chains[0], p)); got != c.want {
				t.Errorf("%s, not %s", got, c.want)
			}
		})
	}
}

// TestAPacketsWayThroughNFTRules: nft's JSON, as version 1.0.6 prints it.
func TestAPacketsWayThroughNFTRules(t *testing.T) {
	for _, c := range []struct {
		name, expr, want string
	}{
		{"its port", `{"match":{"op":"==","left":{"payload":{"protocol":"tcp","field":"dport"}},"right":3306}},{"drop":null}`, "drop"},
		{"a set of ports", `{"match":{"op":"==","left":{"payload":{"protocol":"th","field":"dport"}},"right":{"set":[22,{"range":[3300,3310]}]}}},{"counter":{"packets":0,"bytes":0}},{"drop":null}`, "drop"},
		{"a named set", `{"match":{"op":"==","left":{"payload":{"protocol":"tcp","field":"dport"}},"right":"@ports"}},{"drop":null}`, "drop? accept"},
		{"another protocol's port", `{"match":{"op":"==","left":{"payload":{"protocol":"udp","field":"dport"}},"right":3306}},{"drop":null}`, "accept"},
		{"a limit", `{"limit":{"rate":1,"burst":5,"per":"second"}},{"drop":null}`, "drop? accept"},
		{"a match of iptables", `{"xt":{"type":"match","name":"addrtype"}},{"drop":null}`, "drop? accept"},
		{"states", `{"vmap":{"key":{"ct":{"key":"state"}},"data":{"set":[["invalid",{"drop":null}],["established",{"accept":null}]]}}}`, "accept"},
		{"not established", `{"match":{"op":"!=","left":{"ct":{"key":"state"}},"right":"established"}},{"drop":null}`, "drop"},
		{"a SYN", `{"match":{"op":"==","left":{"&":[{"payload":{"protocol":"tcp","field":"flags"}},["fin","syn","rst","ack"]]},"right":"syn"}},{"drop":null}`, "drop"},
		{"ports of a map", `{"vmap":{"key":{"payload":{"protocol":"tcp","field":"dport"}},"data":{"set":[[22,{"accept":null}],[{"range":[3300,3310]},{"drop":null}]]}}}`, "drop"},
		{"protocols", `{"match":{"op":"==","left":{"meta":{"key":"l4proto"}},"right":{"set":["icmp","udp"]}}},{"drop":null}`, "accept"},
		{"the other family", `{"match":{"op":"==","left":{"meta":{"key":"nfproto"}},"right":"ipv6"}},{"drop":null}`, "accept"},
		{"not another protocol's port", `{"match":{"op":"!=","left":{"payload":{"protocol":"udp","field":"dport"}},"right":53}},{"drop":null}`, "accept"},
		{"not a source of the other family", `{"match":{"op":"!=","left":{"payload":{"protocol":"ip6","field":"saddr"}},"right":"2001:db8::1"}},{"drop":null}`, "accept"},
		{"some bits of an address", `{"match":{"op":"==","left":{"&":[{"payload":{"protocol":"ip","field":"daddr"}},"255.0.0.0"]},"right":"10.0.0.0"}},{"drop":null}`, "drop? accept"},
		{"any of some flags", `{"match":{"op":"in","left":{"payload":{"protocol":"tcp","field":"flags"}},"right":["fin","rst"]}},{"drop":null}`, "accept"},
		{"a known set", `{"match":{"op":"==","left":{"payload":{"protocol":"tcp","field":"dport"}},"right":"@known"}},{"drop":null}`, "drop"},
		{"a pair of a map with a name", `{"vmap":{"key":{"concat":[{"meta":{"key":"l4proto"}},{"payload":{"protocol":"th","field":"dport"}}]},"data":"@pairs"}}`, "drop"},
		{"the rest of a map", `{"vmap":{"key":{"payload":{"protocol":"tcp","field":"dport"}},"data":{"set":[["*",{"drop":null}],[3306,{"accept":null}]]}}}`, "accept"},
		{"a target of iptables", `{"xt":{"type":"target","name":"DNAT"}}`, "divert"},
		{"destination NAT of the other family", `{"dnat":{"family":"ip6","addr":"2001:db8::1"}}`, "accept"},
		{"a statement that is only a name", `"notrack"`, "untrack accept"},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := `{"nftables":[{"metainfo":{"json_schema_version":1}},{"table":{"family":"inet","name":"f","handle":1}},` +
				`{"chain":{"family":"inet","table":"f","name":"in","handle":1,"type":"filter","hook":"input","prio":0,"policy":"accept"}},` +
				`{"set":{"family":"inet","name":"known","table":"f","elem":[22,{"elem":{"val":3306,"timeout":60}}]}},` +
				`{"map":{"family":"inet","name":"pairs","table":"f","elem":[[{"concat":["udp",3306]},{"accept":null}],[{"concat":["tcp",{"range":[3300,3310]}]},{"drop":null}]]}},` +
				`{"rule":{"family":"inet","table":"f","chain":"in","handle":2,"expr":[` + c.expr + `]}}]}`
			table, chains, err := parseNFT(text)
			if err != nil || table != "inet f" || len(chains) != 1 {
				t.Fatal(table, chains, err)
			}
			p := packet{Family: protocol.IPv4, Knock: protocol.Knock{Proto: protocol.TCP, Port: 3306}}
			if got := words(hostOf(chains).walk(chains[0], p)); got != c.want {
				t.Errorf("%s, not %s", got, c.want)
			}
		})
	}
}

// TestWhichPacketsAreMeantIsSaid: of a host with two interfaces and two addresses, or,
// where the profile narrows it, one of each.
func TestWhichPacketsAreMeantIsSaid(t *testing.T) {
	address := func(text string) []netip.Addr { return []netip.Addr{netip.MustParseAddr(text)} }
	both := network{interfaces: []string{"eth0", "eth1"}, addresses: append(address("198.51.100.1"), address("198.51.100.17")...), aside: address("172.17.0.1")}
	one := network{interfaces: []string{"eth0"}, only: true, addresses: address("198.51.100.1")}
	const drop = " -j DROP"
	for _, c := range []struct {
		rule, both, one string // "-": to no packet
	}{
		{"-i eth0", ", for packets that come in by eth0", ""},
		{"-i eth1", ", for packets that come in by eth1", "-"},
		{"! -i eth1", ", for packets that do not come in by eth1", ""},
		{"-i eth+", "", ""},
		{"-i ppp0", ", for packets that come in by ppp0", "-"},
		{"-i docker0", "-", "-"},
		{"! -i br-0123456789ab", "", ""},
		{"-d 198.51.100.0/24", "", ""},
		{"-d 198.51.100.1/32", ", for packets that go to 198.51.100.1/32", ""},
		{"! -d 198.51.100.1/32", ", for packets that do not go to 198.51.100.1/32", "-"},
		{"-d 172.17.0.1/32", ", for packets that go to 172.17.0.1/32", "-"},
		{"-d 203.0.113.1/32", "-", "-"},
		{"-d 127.0.0.0/8", "-", "-"},
		{"-m iprange --dst-range 198.51.100.1-198.51.100.30", "", ""},
		{"-m iprange --src-range 10.0.0.1-10.0.0.9", ", for packets that come from 10.0.0.1-10.0.0.9", ", for packets that come from 10.0.0.1-10.0.0.9"},
		{"-m set --match-set friends src", ", for packets that match `--match-set friends src`", ", for packets that match `--match-set friends src`"},
		{"-m set ! --match-set friends src -i eth0", ", for packets that do not match `--match-set friends src` and come in by eth0", ", for packets that do not match `--match-set friends src`"},
		{"-m addrtype ! --dst-type LOCAL", "-", "-"},
		{"-m addrtype --src-type LOCAL", "-", "-"},
		{"-o eth0", "-", "-"},
	} {
		chains, err := chainsOf("iptables-nft", protocol.IPv4, "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT "+c.rule+drop+"\nCOMMIT\n")
		if err != nil {
			t.Fatal(err)
		}
		for n, want := range map[*network]string{&both: c.both, &one: c.one} {
			got := "-"
			if found := hostOf(chains).walk(chains[0], packet{Family: protocol.IPv4, Knock: protocol.Knock{Proto: protocol.TCP, Port: 3306}, network: *n}); found[0].rule != nil {
				got = found[0].terms.String()
			}
			if got != want {
				t.Errorf("%s by %v: %q, not %q", c.rule, n.interfaces, got, want)
			}
		}
	}
}

// TestLaterPacketsOfAConnectionAreEstablished follows the client's second packet and
// the host's answer.
func TestLaterPacketsOfAConnectionAreEstablished(t *testing.T) {
	for _, c := range []struct {
		rules, next, reply string
	}{
		{"-m conntrack --ctstate NEW", "accept", "accept"},
		{"-m conntrack --ctstate RELATED,ESTABLISHED", "drop", "drop"},
		{"-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN", "accept", "accept"},
		{"-p tcp -m tcp ! --tcp-flags FIN,SYN,RST,ACK SYN", "drop", "drop"},
		{"-p tcp -m tcp --dport 3306", "drop", "accept"},
		{"-p tcp -m tcp --sport 3306", "accept", "drop"},
		{"-p tcp -m tcp --sport 1024:65535", "drop", "drop"},
		{"-p tcp -m tcp --sport 40000:50000", "drop? accept", "accept"},
		{"-s 127.0.0.1/32", "accept", "accept"},
		{"-o lo", "accept", "accept"},
		{"! -o lo", "drop", "drop"},
		{"-j KNOCKD\n-A INPUT", "drop", "drop"},
	} {
		chains, err := chainsOf("iptables-nft", protocol.IPv4, "*filter\n:INPUT ACCEPT [0:0]\n:KNOCKD - [0:0]\n-A INPUT "+c.rules+" -j DROP\nCOMMIT\n")
		if err != nil {
			t.Fatal(err)
		}
		p := packet{Family: protocol.IPv4, Knock: protocol.Knock{Proto: protocol.TCP, Port: 3306}, network: network{addresses: []netip.Addr{netip.MustParseAddr("198.51.100.1")}}}
		for s, want := range map[stage]string{next: c.next, reply: c.reply} {
			if got := words(hostOf(chains).walk(chains[0], p.at(s))); got != want {
				t.Errorf("%s: stage %d: %s, not %s", c.rules, s, got, want)
			}
		}
	}
}

// chainsOf reads what iptables-save prints.
func chainsOf(tool string, family protocol.Family, text string) ([]*chain, error) {
	tables, err := save.Parse(text)
	if err != nil {
		return nil, err
	}
	return savedChains(backend.Saved{Tool: tool, Family: family, Tables: tables})
}

func hostOf(chains []*chain) (h host) {
	h.add(chains...)
	return h
}

func words(found []outcome) string {
	names := map[verdict]string{accept: "accept", drop: "drop", divert: "divert", untrack: "untrack", ours: "ours"}
	var all []string
	for _, o := range found {
		word := names[o.verdict]
		if !o.certain {
			word += "?"
		}
		all = append(all, word)
	}
	return strings.Join(all, " ")
}

// TestAChainOfThousandsOfRulesIsFollowedInTime: of what many rules accept, the first are said.
func TestAChainOfThousandsOfRulesIsFollowedInTime(t *testing.T) {
	var rules strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&rules, "-A INPUT -s 10.%d.%d.1/32 -j %s\n", i/250, i%250, []string{"ACCEPT", "DROP", "RETURN"}[i%3])
	}
	chains, err := chainsOf("iptables-nft", protocol.IPv4, "*filter\n:INPUT DROP [0:0]\n"+rules.String()+"COMMIT\n")
	if err != nil {
		t.Fatal(err)
	}
	p := packet{Family: protocol.IPv4, Knock: protocol.Knock{Proto: protocol.TCP, Port: 3306}}
	start := time.Now()
	found := keepsAway(hostOf(chains).walk(chains[0], p))
	if took := time.Since(start); len(found) < 6_000 || took > 5*time.Second {
		t.Errorf("%d outcomes after %s", len(found), took)
	}
	if said := found[len(found)-1].terms.String(); len(said) > 3_000 || !strings.Contains(said, "…") {
		t.Errorf("the terms: %s", said)
	}
}
