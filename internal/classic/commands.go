package classic

import (
	"fmt"
	"time"

	"knockkit/protocol"
)

// commands reads what a section does: what its start command lets in, and when
// its stop command takes that away.
func (d *draft) commands(s *section) {
	at, set := s.set["START_COMMAND"]
	if !set {
		if !d.left() {
			d.skip(d.head, "", "the section has no command: it opens nothing")
		}
		return
	}
	start, ok := d.both(s, "START_COMMAND")
	if !ok {
		return
	}
	d.opens = start
	d.troubles = append(d.troubles, start.mild...)
	if start.remove {
		return // explained when all sections are known
	}
	switch start.family {
	case protocol.IPv4:
		d.warn(at, "if the service listens on IPv6 too, remove `family` from the profile", "the command is about IPv4: so is the profile, and IPv6 is left to the host's other rules")
	case protocol.IPv6:
		d.warn(at, "", "the command is about IPv6: so is the profile, and IPv4 is left to the host's other rules")
	}
	d.leases(s, at)
}

// both reads a command and the one for IPv6, which is the same where none is set.
func (d *draft) both(s *section, key string) (rule, bool) {
	four, ok := d.command(s.set[key])
	six, set := s.set[key+"_6"]
	switch {
	case !ok:
		return rule{}, false
	case !set:
		return four, true
	case (six.value() == "" || six.value() == ":") && four.family != protocol.IPv6:
		four.family = protocol.IPv4
		return four, true
	}
	other, ok := d.command(six)
	if !ok {
		return rule{}, false
	}
	return d.merge(six, four, step{rule: other})
}

// command reads one command line: all its commands together.
func (d *draft) command(at position) (rule, bool) {
	commands, t := splitCommand(at)
	if t != nil {
		d.troubles = append(d.troubles, *t)
		return rule{}, false
	}
	steps, ok := d.steps(at, commands)
	if !ok {
		return rule{}, false
	}
	if len(steps) == 0 {
		d.skip(d.head, "", "a command opens nothing")
		return rule{}, false
	}
	whole := steps[0].rule
	for _, s := range steps[1:] {
		if whole, ok = d.merge(at, whole, s); !ok {
			return rule{}, false
		}
	}
	return whole, true
}

// merge joins two rules. A profile has one list of ports for both families, and one scope.
func (d *draft) merge(at position, a rule, s step) (rule, bool) {
	b := s.rule
	switch {
	case a.remove && !b.remove && a.same(b) && s.after == ";":
		return b, true // so that it is there once
	case !a.remove && b.remove && a.same(b) && s.wait > 0:
		a.timeout = s.wait
		return a, true
	}
	families := a.family
	if a.family != b.family {
		families = protocol.Both
	}
	ports := rule{family: a.family, device: a.device, to: a.to, ports: b.ports}
	switch {
	case a.remove != b.remove:
		d.skip(at, "with cmd_timeout and stop_command instead of a command that waits, it can be imported", "a rule is added and another one taken away")
	case a.device != b.device || a.to != b.to:
		d.skip(at, "make two sections of it, and import again", "the rules are about different interfaces or addresses; a profile has one of each")
	case a.family != b.family && !a.covers(ports):
		d.skip(at, "make two sections of it, and import again", "the rules open other ports over IPv4 than over IPv6; a profile has one list for both")
	case a.timeout != b.timeout:
		d.skip(at, "", "the rules end at different times")
	default:
		if a.family == b.family {
			a.ports = append(a.ports, b.ports...)
		}
		if a.never == nil {
			a.never = b.never
		}
		a.family, a.mild = families, append(a.mild, b.mild...)
		return a, true
	}
	return rule{}, false
}

// leases finds out how long the ports stay open.
func (d *draft) leases(s *section, start position) {
	stop, stops := s.set["STOP_COMMAND"]
	after, timed := s.set["CMD_TIMEOUT"]
	if !stops || stop.value() == "" {
		d.lease = d.opens.timeout
		switch {
		case d.lease > 0:
		case timed:
			d.warn(after, fmt.Sprintf("if it was meant to, write lease = \"%ss\"", after.value()), "without a stop_command this time has no effect: the classic daemon closes nothing, so the lease has no end")
		default:
			d.warn(start, `for an end, write lease = "1h" or the like; for a knock that closes, add close = "PORT/tcp"`, "nothing in this section takes the rule away, so the lease has no end")
		}
		return
	}
	end, ok := d.both(s, "STOP_COMMAND")
	switch {
	case !ok:
		return
	case !end.remove || !end.covers(d.opens):
		d.skip(stop, "", "the command does not take away what the start command lets in: how long that stays is not certain")
		return
	}
	if end.never != nil {
		d.troubles = append(d.troubles, *end.never)
	}
	seconds := defaultCommandTime
	if timed {
		if seconds, ok = d.seconds(after); !ok {
			return
		}
	} else {
		d.warn(stop, "", "the section sets no cmd_timeout: the classic daemon waits %d seconds, and so long is the lease", seconds)
	}
	d.lease = time.Duration(seconds) * time.Second
	if d.opens.timeout > 0 {
		d.lease = min(d.lease, d.opens.timeout)
	}
	if d.lease == 0 {
		d.skip(after, "", "the rule is taken away as soon as it is there: the section has never opened anything")
	}
}

// explainClosers skips sections that only take away what another one lets in.
func explainClosers(drafts []*draft) {
	for _, d := range drafts {
		if !d.opens.remove {
			continue
		}
		opener := ""
		for _, o := range drafts {
			if !o.opens.remove && d.opens.covers(o.opens) && len(o.opens.ports) > 0 {
				opener = o.title
			}
		}
		if opener == "" {
			d.skip(d.head, "", "the section removes a rule that no section adds")
			continue
		}
		d.skip(d.head, `add close = "PORT/tcp" with a secret port of its own to that profile: "knock close" sends it; on the server there is "knockd revoke"`,
			"the section closes what [%s] opens, by a sequence; a profile is closed by one knock, and which is for you to choose", opener)
	}
}
