package protocol

import (
	"fmt"
	"slices"
	"strings"
)

// String names the step as people count: "mysql 2/3".
func (u Use) String() string {
	return fmt.Sprintf("%s %d/%d", u.Profile.Name, u.Step, len(u.Profile.Sequence))
}

// StateName says in whose sequences the state is, and where: "mysql 1/3, web 1/4".
// The root is "start".
func (a *Automaton) StateName(i int) string {
	if i == Root {
		return "start"
	}
	names := make([]string, len(a.States[i].Users))
	for j, u := range a.States[i].Users {
		names[j] = u.String()
	}
	return strings.Join(names, ", ")
}

// Find returns the state whose path is the given knocks, or Root.
func (a *Automaton) Find(path []Knock) int {
	i := slices.IndexFunc(a.States, func(s State) bool { return slices.Equal(s.Path, path) })
	return max(i, Root)
}
