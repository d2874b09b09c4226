package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"knockkit/internal/completion"
)

func TestWhatCanFollow(t *testing.T) {
	profiles := func(dir string, withHosts bool) []string {
		switch {
		case dir == "other":
			return []string{"elsewhere"}
		case withHosts:
			return []string{"mysql@db1", "mysql@db2", "ssh@db1"}
		}
		return []string{"mysql\tMySQL on db1", "ssh"}
	}
	for _, c := range []struct {
		name string
		line string // what was typed; the last word is being typed
		want []string
	}{
		{"commands and profiles", "s", []string{"show", "ssh"}},
		{"hosts of a profile", "mysql@", []string{"mysql@db1", "mysql@db2"}},
		{"nothing after a profile", "mysql ", nil},
		{"a command's profile", "forward m", []string{"mysql"}},
		{"not where a second one would be", "forward mysql m", nil},
		{"flags", "mysql --no", []string{"--no-verify"}},
		{"flags of a command", "forward --p", []string{"--port", "--profile"}},
		{"no flags of another", "list --p", nil},
		{"a command after a flag and its value", "--host proxy forw", []string{"forward"}},
		{"a value that is a file", "mysql --hosts-file ", []string{":files"}},
		{"a value that is anything", "mysql --host ", nil},
		{"profiles of another folder", "--config other ", []string{"elsewhere"}},
		{"shells", "completion z", []string{"zsh"}},
		{"the command that is run", "mysql -- /bin/l", []string{":files"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, candidate := range completion.Candidates(newApp(), strings.Split(c.line, " "), arguments(profiles)) {
				word, _, _ := strings.Cut(candidate, "\t")
				got = append(got, word)
			}
			if c.name == "profiles of another folder" { // the commands are there too
				got = slices.DeleteFunc(got, func(w string) bool { return newApp().Command(w) != nil })
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWhatIsHiddenIsNotOffered(t *testing.T) {
	none := func(string, bool) []string { return nil }
	for _, c := range completion.Candidates(newApp(), []string{""}, arguments(none)) {
		if strings.HasPrefix(c, "__") {
			t.Errorf("%q is offered", c)
		}
	}
}
