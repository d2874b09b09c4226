package classic

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"knockkit/internal/tomldoc"
)

// notUnderstood says why a command that is none of a firewall's makes no profile, and what to
// write instead.
func notUnderstood(words []word) *trouble {
	const asRule = "iptables -I INPUT -s %IP% -p tcp --dport PORT -j ACCEPT"
	interpreters := []string{"sh", "bash", "dash", "python", "python3", "perl"}
	name, args := path.Base(words[0].text), words[1:]
	t := &trouble{at: words[0].at}
	say := func(message, hint string) *trouble {
		t.message, t.hint = message, hint
		return t
	}
	switch {
	case name == "ipset":
		set := "the set"
		if len(args) > 1 {
			set = args[1].text
		}
		return say("the address goes into a set, and what the set opens is not in this file",
			fmt.Sprintf("`iptables -S` shows the rule that asks for %s: write `%s` with its port, and import again", set, asRule))
	case name == "knock_add" || name == "knock_helper_ipt.sh": // of the classic daemon's own package
		if rule := helperRule(args); rule != "" {
			return say(fmt.Sprintf("the script %s may be changed on each host", tomldoc.Quote(name)), fmt.Sprintf("write the rule that it makes, `%s`, and import again", rule))
		}
	case slices.Contains([]string{"systemctl", "service", "rc-service", "docker", "podman"}, name):
		return say(fmt.Sprintf("%s starts or stops a service, and a profile runs no commands", tomldoc.Quote(name)),
			fmt.Sprintf("let the service run behind a gate: write `%s` with its port, and import again", asRule))
	case slices.Contains(interpreters, name) && len(args) > 0 && args[0].text == "-c":
		return say("a command in quotes for another shell is not read", "write what stands in quotes alone, and import again")
	case tool(words[0]) == "" || strings.Contains(name, ".") || slices.Contains(interpreters, name) && len(args) > 0:
		script := words[0].text
		if slices.Contains(interpreters, name) {
			script = args[0].text
		}
		return say(fmt.Sprintf("what %s does is in another file", tomldoc.Quote(script)),
			fmt.Sprintf("if it opens a port, write its rules here, as `%s`, and import again; else let the client run it behind the knock (knock PROFILE -- COMMAND)", asRule))
	}
	return say(fmt.Sprintf("%s is not a firewall command that is understood here, and a profile runs no commands", tomldoc.Quote(name)),
		"let the client run it behind the knock (knock PROFILE -- COMMAND), put rules into [opened] of a profile, or let the classic daemon keep this section")
}

// helperRule returns the rule of the helper script that the classic daemon comes with; "" when
// its arguments are not the usual ones.
func helperRule(args []word) string {
	action, values := "", map[string]string{"-c": "INPUT", "-p": "tcp"}
	for i := 0; i < len(args); i++ {
		switch a := args[i].text; a {
		case "-i", "-a", "-x":
			action = map[string]string{"-i": "-I", "-a": "-A", "-x": "-D"}[a]
		case "-c", "-p", "-d", "-f", "-m":
			if i++; i < len(args) {
				values[a] = args[i].text
			}
		default:
			return ""
		}
	}
	if action == "" || values["-d"] == "" || values["-f"] == "" {
		return ""
	}
	return fmt.Sprintf("iptables %s %s -s %s -p %s --dport %s -j ACCEPT", action, values["-c"], values["-f"], values["-p"], values["-d"])
}
