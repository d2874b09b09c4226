package doctor

import (
	"strings"
	"testing"

	"knockkit/protocol"
)

// TestTheLineThatLetsPortsThroughIsThatOfTheTool: each tool has its own sign between
// the ends of a range.
func TestTheLineThatLetsPortsThroughIsThatOfTheTool(t *testing.T) {
	ports := []protocol.PortRange{{Proto: protocol.TCP, First: 22, Last: 22}, {Proto: protocol.UDP, First: 6000, Last: 6010}}
	iptables, nft := &chain{tool: "iptables-nft"}, &chain{tool: nftTool}
	for _, c := range []struct {
		manager manager
		chain   *chain
		want    string
	}{
		{ufw, iptables, "`ufw allow 22/tcp`, `ufw allow 6000:6010/udp`: "},
		{firewalld, nft, "`firewall-cmd --permanent --add-port=22/tcp`, `firewall-cmd --permanent --add-port=6000-6010/udp`, then `firewall-cmd --reload`: "},
		{nobody, nft, "put `tcp dport 22 accept`, `udp dport 6000-6010 accept` in front of that, in the file that the rules come from: "},
		{nobody, iptables, "put `-p tcp --dport 22 -j ACCEPT`, `-p udp --dport 6000:6010 -j ACCEPT` in front of that, in the file that the rules come from: "},
	} {
		if got := letThrough(c.manager, c.chain, ports); !strings.HasPrefix(got, c.want) {
			t.Errorf("%q of %s: %s", c.manager, c.chain.tool, got)
		}
	}
}

func TestAChainIsOfTheToolWhoseChainsAreBesideIt(t *testing.T) {
	for _, c := range []struct {
		family protocol.Family
		rules  string
		want   manager
	}{
		{protocol.IPv4, "", nobody},
		{protocol.IPv4, ":ufw-before-input - [0:0]\n", ufw},
		{protocol.IPv6, ":ufw6-before-input - [0:0]\n", ufw},
		{protocol.IPv6, ":INPUT_ZONES - [0:0]\n", firewalld},
		{protocol.IPv4, ":f2b-sshd - [0:0]\n", nobody}, // its jump is in INPUT, the rest is the operator's
	} {
		chains, err := chainsOf("iptables-legacy", c.family, "*filter\n:INPUT DROP [0:0]\n"+c.rules+"COMMIT\n")
		if err != nil {
			t.Fatal(err)
		}
		if got := hostOf(chains).manager(chains[0]); got != c.want {
			t.Errorf("INPUT beside %q is of %q, want %q", c.rules, got, c.want)
		}
	}
}
