package doctor

import (
	"fmt"
	"strings"

	"knockkit/protocol"
)

// manager is a tool that writes rules of its own: a rule that is put among them by hand is gone
// after its next reload.
type manager string

// The tools that are known by their chains.
const (
	nobody    manager = ""
	ufw       manager = "ufw"
	firewalld manager = "firewalld"
	fail2ban  manager = "fail2ban"
)

// manager returns the tool that a chain belongs to; of iptables' own chains, by another chain in the
// same table.
func (h host) manager(c *chain) manager {
	beside := func(name string) bool { return c.tool != nftTool && h.callee(c, name) != nil }
	switch {
	case strings.HasPrefix(c.name, "f2b-"):
		return fail2ban
	case c.tool == nftTool && c.table == "inet firewalld", beside("INPUT_ZONES"):
		return firewalld
	case beside("ufw-before-input"), beside("ufw6-before-input"):
		return ufw
	}
	return nobody
}

// letThrough says how to let the ports past a chain that drops them.
func letThrough(m manager, c *chain, ports []protocol.PortRange) string {
	format, between := "-p %[2]s --dport %[1]s -j ACCEPT", ":"
	switch {
	case m == ufw:
		format = "ufw allow %s/%s"
	case m == firewalld:
		format, between = "firewall-cmd --permanent --add-port=%s/%s", "-"
	case c.tool == nftTool:
		format, between = "%[2]s dport %[1]s accept", "-"
	}
	var lines []string
	for _, r := range ports {
		number := fmt.Sprint(r.First)
		if r.Last > r.First {
			number += between + fmt.Sprint(r.Last)
		}
		lines = append(lines, fmt.Sprintf(format, number, r.Proto))
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
