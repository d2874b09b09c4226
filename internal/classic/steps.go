package classic

import (
	"fmt"
	"time"
)

// step is a rule of a command line.
type step struct {
	rule
	after string        // as in command
	wait  time.Duration // that the commands before it sleep
}

// steps reads the rules of a command line. It leaves out commands that change nothing about who
// gets in, and questions whether a rule is there: what follows adds what is missing, or removes
// what is there.
func (d *draft) steps(at position, commands []command) ([]step, bool) {
	var steps []step
	var wait time.Duration
	for i, c := range commands {
		idle, pause, t := harmless(c.words)
		if idle && (i+1 == len(commands) || commands[i+1].after != "||") {
			wait += pause
			if t != nil {
				d.troubles = append(d.troubles, *t)
			}
			continue
		}
		r, t := readRule(c.words)
		if t != nil {
			d.troubles = append(d.troubles, *t)
			return nil, false
		}
		next := step{r, c.after, wait}
		wait = 0
		last := len(steps) - 1
		asked := last >= 0 && steps[last].check
		switch {
		case !asked && c.after != "||":
			steps = append(steps, next)
			continue
		case asked && c.after == ";": // nobody acts on the answer
		case asked && steps[last].same(r) && !r.check && (c.after == "||" && !r.remove || c.after == "&&" && r.remove):
		default:
			d.skip(at, "write the command alone that opens the port, and import again", "whether a command runs depends on the one before")
			return nil, false
		}
		next.after = steps[last].after
		steps[last] = next
	}
	if n := len(steps); n > 0 && steps[n-1].check {
		steps = steps[:n-1]
	}
	return steps, true
}

// harmless reports whether a command changes nothing about who gets in, how long it takes, and
// what to say of it.
func harmless(words []word) (idle bool, pause time.Duration, t *trouble) {
	switch tool(words[0]) {
	case ":", "true":
		return true, 0, nil
	case "logger", "echo":
		return true, 0, &trouble{at: words[0].at, mild: true, message: fmt.Sprintf("%s is left out: a profile runs no commands", words[0].text), hint: `"knockd run" writes leases to its log`}
	case "sleep":
		if len(words) == 2 {
			pause, t := parseSeconds(words[1])
			return t == nil && pause > 0, pause, nil
		}
	}
	return false, 0, nil
}
