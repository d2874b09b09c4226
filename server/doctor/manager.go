package doctor

import (
	"fmt"
	"slices"
	"strings"

	"knockkit/protocol"
)

// manager is a tool that writes rules of its own: a rule put among them by hand is
// gone at its next reload.
type manager string

// The tools that are known by their chains.
const (
	nobody    manager = ""
	ufw       manager = "ufw"
	firewalld manager = "firewalld"
	fail2ban  manager = "fail2ban"
)

// managers are found by a table of nft, or by a chain beside the one in question.
var managers = []struct {
	name         manager
	table, chain string // of nft; of iptables
}{
	{firewalld, "inet firewalld", "INPUT_ZONES"},
	{ufw, "", "ufw-before-input"},
}

// manager returns the tool that a chain belongs to.
func (h host) manager(c *chain) manager {
	if strings.HasPrefix(c.name, "f2b-") {
		return fail2ban
	}
	for _, m := range managers {
		if c.tool == nftTool && c.table == m.table {
			return m.name
		}
		chains := []string{m.chain, strings.Replace(m.chain, "ufw-", "ufw6-", 1)} // ufw's of IPv6
		if c.tool != nftTool && slices.ContainsFunc(chains, func(name string) bool { return h.callee(c, name) != nil }) {
			return m.name
		}
	}
	return nobody
}

// letThrough says how the ports get past a chain that drops them.
func letThrough(m manager, c *chain, ports []protocol.PortRange) string {
	var lines []string
	for _, r := range ports {
		number, iptables := fmt.Sprint(r.First), fmt.Sprint(r.First)
		if r.Last > r.First {
			number, iptables = fmt.Sprintf("%d-%d", r.First, r.Last), fmt.Sprintf("%d:%d", r.First, r.Last)
		}
		switch {
		case m == ufw:
			lines = append(lines, fmt.Sprintf("ufw allow %s/%s", iptables, r.Proto))
		case m == firewalld:
			lines = append(lines, fmt.Sprintf("firewall-cmd --permanent --add-port=%s/%s", number, r.Proto))
		case c.tool == nftTool:
			lines = append(lines, fmt.Sprintf("%s dport %s accept", r.Proto, number))
		default:
			lines = append(lines, fmt.Sprintf("-p %s --dport %s -j ACCEPT", r.Proto, iptables))
		}
	}
	text := "`" + strings.Join(lines, "`, `") + "`"
	switch m {
	case ufw:
	case firewalld:
		text += ", then `firewall-cmd --reload`"
	default:
		text = fmt.Sprintf("put %s in front of that, in the file that the rules come from", text)
	}
	return text + ": the gate keeps it closed to strangers"
}
