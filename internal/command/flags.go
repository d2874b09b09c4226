package command

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// split reads one argument that starts with "-": --name, --name=value, -n,
// -n=value, -nvalue where n takes a value, and -abc where each takes none.
func (l *line) split(arg string) []given {
	name, value, has := strings.Cut(strings.TrimLeft(arg, "-"), "=")
	typed, _, _ := strings.Cut(arg, "=")
	whole := given{typed: typed, name: name, value: value, has: has}
	letters := []rune(name)
	if strings.HasPrefix(arg, "--") || len(letters) < 2 || l.find(name) != nil {
		return []given{whole}
	}
	var flags []given
	for i, letter := range letters {
		short := string(letter)
		if l.find(short) == nil && short != "h" {
			return []given{whole}
		}
		f := given{typed: "-" + short, name: short}
		if l.takesValue(short) {
			if i+1 < len(letters) || has {
				f.value, f.has = strings.TrimPrefix(arg, "-"+string(letters[:i+1])), true
			}
			return append(flags, f)
		}
		flags = append(flags, f)
	}
	if has { // -ab=x: only the last could take x
		flags[len(flags)-1].value, flags[len(flags)-1].has = value, true
	}
	return flags
}

// find returns the flag that the name can mean at this point of the line: of
// the commands entered, innermost first, or of one still to come.
func (l *line) find(name string) cli.Flag {
	for _, lv := range slices.Backward(l.levels) {
		if f := find(lv.flags, name); f != nil {
			return f
		}
	}
	if len(l.words) > 0 {
		return nil
	}
	return findBelow(l.here().commands, name)
}

func findBelow(commands []*cli.Command, name string) cli.Flag {
	for _, c := range commands {
		if f := find(c.Flags, name); f != nil {
			return f
		}
		if f := findBelow(c.Subcommands, name); f != nil {
			return f
		}
	}
	return nil
}

func find(flags []cli.Flag, name string) cli.Flag {
	for _, f := range flags {
		if slices.Contains(f.Names(), name) {
			return f
		}
	}
	return nil
}

func (l *line) takesValue(name string) bool {
	f, ok := l.find(name).(cli.DocGenerationFlag)
	return ok && f.TakesValue()
}
