package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"knockkit/internal/completion"
	"knockkit/protocol"
)

func TestWhatCanFollow(t *testing.T) {
	profiles := func(dir string) []*protocol.Profile {
		if dir == "other" {
			return []*protocol.Profile{{Name: "elsewhere"}}
		}
		return []*protocol.Profile{
			{Name: "mysql", Description: "MySQL on db1", Hosts: []string{"db1", "db2"}},
			{Name: "ssh", Hosts: []string{"db1"}},
			{Name: "web"},
		}
	}
	for _, c := range []struct {
		name string
		line string // what was typed; the last word is being typed
		want []string
	}{
		{"commands and profiles", "s", []string{"status", "show", "ssh"}},
		{"hosts of a profile", "mysql@", []string{"mysql@db1", "mysql@db2"}},
		{"hosts of all, where a profile has none", "web@", []string{"web@db1", "web@db2"}},
		{"hosts of nobody's profile", "nobody@", nil},
		{"nothing after a profile", "mysql ", nil},
		{"a command's profile", "forward m", []string{"mysql"}},
		{"several profiles to forward", "forward mysql s", []string{"ssh"}},
		{"no second profile to close", "close mysql s", nil},
		{"flags", "mysql --no", []string{"--no-verify"}},
		{"flags of a command", "forward --p", []string{"--port", "--profile"}},
		{"no flags of another", "list --p", nil},
		{"a command after a flag and its value", "--host proxy forw", []string{"forward"}},
		{"a value that is a file", "mysql --hosts-file ", []string{":files"}},
		{"a value that is a host", "mysql --host ", []string{"db1", "db2"}},
		{"an address of this machine", "proxy ssh --source 127.0.0.", []string{"127.0.0.1"}},
		{"an interface of this machine", "mysql --interface lo", []string{"lo"}},
		{"a value that is anything", "mysql --timeout ", nil},
		{"a value behind an equals sign", "mysql --host=", []string{"--host=db1", "--host=db2"}},
		{"a file behind an equals sign", "mysql --hosts-file=", []string{":files"}},
		{"no value for a flag that has none", "mysql --quiet=", nil},
		{"the host of a proxy", "proxy ssh d", []string{"db1", "db2"}},
		{"profiles of another folder, behind an equals sign", "--config=other show ", []string{"elsewhere"}},
		{"profiles of another folder", "--config other ", []string{"elsewhere"}},
		{"shells", "completion z", []string{"zsh"}},
		{"the command that is run", "mysql -- /bin/l", []string{":files"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, candidate := range completion.Candidates(t.Context(), newApp(), strings.Split(c.line, " "), arguments(profiles)) {
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
	none := func(string) []*protocol.Profile { return nil }
	for _, c := range completion.Candidates(t.Context(), newApp(), []string{""}, arguments(none)) {
		if strings.HasPrefix(c, "__") {
			t.Errorf("%q is offered", c)
		}
	}
}
