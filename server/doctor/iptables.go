package doctor

import (
	"fmt"
	"slices"
	"strings"

	"knockkit/protocol"
	"knockkit/server/iptables"
)

// builtin is where the kernel calls the chains of iptables' tables
// (enum nf_ip_hook_priorities in linux/netfilter_ipv4.h).
func builtin(table, name string) place {
	priority, known := map[string]int{"raw": -300, "mangle": -150, "nat": -100, "filter": 0, "security": 50}[table]
	switch {
	case !known:
	case name == "PREROUTING":
		return place{prerouting, priority}
	case name == "INPUT" && table == "nat":
		return place{input, 100}
	case name == "INPUT":
		return place{input, priority}
	}
	return place{}
}

// parseSave reads the output of iptables-save.
func parseSave(tool string, family protocol.Family, text string) (host, error) {
	var all host
	table := ""
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		switch {
		case strings.HasPrefix(line, "*"):
			table = line[1:]
		case strings.HasPrefix(line, ":"):
			fields := strings.Fields(line[1:])
			if len(fields) < 2 {
				return nil, fmt.Errorf("%s: %q is no chain", tool, line)
			}
			if iptables.Ours(fields[0]) {
				continue // there may be thousands, and every packet's way looks at all chains
			}
			c := &chain{tool: tool, family: family, table: table, name: fields[0], place: builtin(table, fields[0]), policy: accept}
			if fields[1] == "DROP" {
				c.policy = drop
			}
			all = append(all, c)
		case strings.HasPrefix(line, "-A "):
			name, text, _ := strings.Cut(line[len("-A "):], " ")
			if iptables.Ours(name) {
				continue
			}
			i := slices.IndexFunc(all, func(c *chain) bool { return c.table == table && c.name == name })
			if i < 0 {
				continue
			}
			r, err := parseRule(text)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", tool, err)
			}
			all[i].add(r)
		}
	}
	return all, nil
}

// parseRule reads the text behind "-A CHAIN".
func parseRule(text string) (*rule, error) {
	args, err := iptables.Args(text)
	if err != nil {
		return nil, err
	}
	r := &rule{text: text}
	for i := 0; i < len(args); {
		negated := args[i] == "!"
		if negated {
			i++
		}
		if i == len(args) {
			break
		}
		flag := args[i]
		i++
		var values []string
		for i < len(args) && args[i] != "!" && !strings.HasPrefix(args[i], "-") {
			values = append(values, args[i])
			i++
		}
		if flag == "-j" || flag == "-g" {
			r.target = strings.Join(values, " ")
			r.verdict = target(r.target, flag, args[i:])
			break // the rest are the target's own
		}
		if c := iptablesCondition(flag, values); c != nil {
			if negated {
				c = notThat(flag == "-i", c)
			}
			r.conditions = append(r.conditions, c)
		}
	}
	return r, nil
}

// target says what a target does. Those that are not known let the packet go on.
func target(name, flag string, options []string) verdict {
	switch name {
	case "ACCEPT":
		return accept
	case "DROP", "REJECT", "TARPIT":
		return drop
	case "RETURN":
		return back
	case "DNAT", "REDIRECT", "TPROXY":
		return divert
	case "NOTRACK":
		return untrack
	case "CT":
		if slices.Contains(options, "--notrack") {
			return untrack
		}
		return goOn
	}
	switch {
	case iptables.Ours(name):
		return ours
	case flag == "-g":
		return jumpAway
	}
	return jump
}

// notThat turns a condition round. Strangers come in by interfaces that face them, so
// "not by docker0" is true of them, and "not by lo" of course.
func notThat(isInterface bool, c condition) condition {
	if isInterface {
		return always(yes)
	}
	return func(p Packet) answer { return c(p).not() }
}
