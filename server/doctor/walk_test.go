package doctor

import (
	"strings"
	"testing"

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
	} {
		t.Run(c.name, func(t *testing.T) {
			h, err := parseSave("iptables-nft", protocol.IPv4, "*filter\n:INPUT ACCEPT [0:0]\n"+c.rules+"\nCOMMIT\n")
			if err != nil {
				t.Fatal(err)
			}
			p := Packet{protocol.IPv4, protocol.Knock{Proto: protocol.TCP, Port: 3306}}
			if got := words(h.walk(h[0], p)); got != c.want {
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
		{"a statement that is only a name", `"notrack"`, "untrack accept"},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := `{"nftables":[{"metainfo":{"json_schema_version":1}},{"table":{"family":"inet","name":"f","handle":1}},` +
				`{"chain":{"family":"inet","table":"f","name":"in","handle":1,"type":"filter","hook":"input","prio":0,"policy":"accept"}},` +
				`{"rule":{"family":"inet","table":"f","chain":"in","handle":2,"expr":[` + c.expr + `]}}]}`
			h, err := parseNFT(text)
			if err != nil || len(h) != 1 {
				t.Fatal(h, err)
			}
			p := Packet{protocol.IPv4, protocol.Knock{Proto: protocol.TCP, Port: 3306}}
			if got := words(h.walk(h[0], p)); got != c.want {
				t.Errorf("%s, not %s", got, c.want)
			}
		})
	}
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
