package doctor

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"knockkit/internal/kernel/backend"
	"knockkit/internal/kernel/iptables"
	"knockkit/internal/kernel/iptables/save"
)

// builtin is the hook point of a chain of iptables' own (enum nf_ip_hook_priorities in
// linux/netfilter_ipv4.h).
func builtin(table, name string) hookPoint {
	priority, known := map[string]int{"raw": -300, "mangle": -150, "nat": 0, "filter": 0, "security": 50}[table]
	hook := map[string]int{"PREROUTING": prerouting, "INPUT": input, "FORWARD": forward, "OUTPUT": localOutput, "POSTROUTING": postrouting}[name]
	switch {
	case !known || hook == noHook:
		return hookPoint{}
	case table == "nat":
		return hookPoint{hook: hook}.nat()
	}
	return hookPoint{hook, priority}
}

// nat is the hook point of a chain of type nat: the kernel calls those when it does NAT, whatever
// their own priority is.
func (p hookPoint) nat() hookPoint {
	p.priority = -100
	if p.hook == input || p.hook == postrouting {
		p.priority = 100
	}
	return p
}

// savedChains returns the chains in the output of iptables-save, without ours, of which there may be
// thousands.
func savedChains(s backend.Saved) ([]*chain, error) {
	var all []*chain
	for _, table := range s.Tables {
		for _, is := range table.Chains {
			if iptables.Ours(is.Name) {
				continue
			}
			c := &chain{tool: s.Tool, family: s.Family, table: table.Name, name: is.Name, point: builtin(table.Name, is.Name), policy: accept, nat: table.Name == "nat"}
			if is.Policy == "DROP" {
				c.policy = drop
			}
			for _, text := range is.Rules {
				r, err := parseRule(text)
				if err != nil {
					return nil, fmt.Errorf("%s: %w", s.Tool, err)
				}
				c.rules = append(c.rules, r)
			}
			all = append(all, c)
		}
	}
	return all, nil
}

// hasRules reports whether there is any rule, or a policy of the host's own.
func hasRules(tables []save.Table) bool {
	return slices.ContainsFunc(tables, func(t save.Table) bool {
		return slices.ContainsFunc(t.Chains, func(c *save.Chain) bool { return len(c.Rules) > 0 || c.Policy == "DROP" })
	})
}

// parseRule reads the text behind "-A CHAIN".
func parseRule(text string) (*rule, error) {
	args, err := save.Args(text)
	if err != nil {
		return nil, err
	}
	r := &rule{text: text}
	for i := 0; i < len(args); {
		flag, from := args[i], i+1
		negated := flag == "!" && from < len(args)
		if negated {
			flag, from = args[from], from+1
		}
		for i = from; i < len(args) && args[i] != "!" && !strings.HasPrefix(args[i], "-"); {
			i++
		}
		values := args[from:i]
		if flag == "--comment" {
			i = from + 1 // a comment may begin with a dash
			continue
		}
		if flag == "-j" || flag == "-g" {
			r.target = strings.Join(values, " ")
			r.verdict = target(r.target, flag, args[i:])
			if r.verdict == divert {
				r.to = destinationOf(r.target, args[i:])
			}
			if r.target == "NFQUEUE" {
				r.conditions = append(r.conditions, always(perhaps, "a program accepts (NFQUEUE)"))
			}
			break // the rest are options of the target
		}
		if c, ok := iptablesCondition(flag, values); ok {
			if negated {
				c = c.not()
			}
			r.conditions = append(r.conditions, c)
		}
	}
	return r, nil
}

// target says what a target does. An unknown target lets the packet go on. A packet that TPROXY
// hands to a socket comes to INPUT unchanged, and for NFQUEUE a program decides.
func target(name, flag string, options []string) verdict {
	v, known := map[string]verdict{"ACCEPT": accept, "TPROXY": accept, "NFQUEUE": accept, "DROP": drop, "REJECT": drop, "TARPIT": drop,
		"RETURN": back, "DNAT": divert, "REDIRECT": divert, "NETMAP": divert, "DNPT": divert, "NOTRACK": untrack, "CT": goOn}[name]
	switch {
	case name == "CT" && slices.Contains(options, "--notrack"):
		return untrack
	case known:
		return v
	case iptables.Ours(name):
		return ours
	case flag == "-g":
		return jumpAway
	}
	return jump
}

// destinationOf reads where DNAT and REDIRECT lead: one address, one port, or both.
func destinationOf(target string, options []string) destination {
	value := func(flag string) string {
		if i := slices.Index(options, flag); i >= 0 && i+1 < len(options) {
			return options[i+1]
		}
		return ""
	}
	text := value("--to-destination")
	i := strings.LastIndex(text, ":")
	switch _, err := netip.ParseAddr(text); {
	case target == "REDIRECT":
		return parseDestination("", value("--to-ports"))
	case target != "DNAT", text == "":
		return destination{}
	case err == nil, i < 0:
		return parseDestination(text, "")
	}
	return parseDestination(strings.Trim(text[:i], "[]"), text[i+1:])
}

// parseDestination reads an address and a port; "" is no change.
func parseDestination(addr, port string) (to destination) {
	var errAddr, errPort error
	var number uint64
	if addr != "" {
		to.addr, errAddr = netip.ParseAddr(addr)
	}
	if port != "" {
		number, errPort = strconv.ParseUint(port, 10, 16)
	}
	to.port, to.known = uint16(number), errAddr == nil && errPort == nil
	return to
}
