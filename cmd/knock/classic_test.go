package main

import "testing"

func TestTheClassicFormIsToldByItsSecondWord(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string
		want bool
	}{
		{"nothing", nil, false},
		{"a profile", []string{"mysql"}, false},
		{"a number alone", []string{"7000"}, false},
		{"a port", []string{"db1", "7000"}, true},
		{"with its protocol", []string{"db1", "7000:udp", "8000"}, true},
		{"with a wrong one, to be told so", []string{"db1", "7000:sctp"}, true},
		{"an address that begins like a port", []string{"mysql", "2001:db8::1"}, false},
		{"an address that begins like a port and its protocol", []string{"mysql", "7000::"}, false},
		{"a word", []string{"mysql", "true"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := isClassic(c.args); got != c.want {
				t.Errorf("%v", got)
			}
		})
	}
}

func TestWhatAClassicPortMeans(t *testing.T) {
	for _, c := range []struct {
		name, word string
		udp        bool
		want       string // "" for a mistake
	}{
		{"tcp is the default", "7000", false, "7000/tcp"},
		{"its own protocol", "7000:udp", false, "7000/udp"},
		{"--udp for all", "7000", true, "7000/udp"},
		{"--udp also where a port says tcp, as Debian's has it", "7000:tcp", true, "7000/udp"},
		{"a service", "http", false, "80/tcp"},
		{"no such protocol", "7000:sctp", false, ""},
		{"no such port", "70000", false, ""},
		{"zero", "0", false, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			k, err := classicKnock(c.word, c.udp)
			if c.want == "" {
				if err == nil {
					t.Errorf("%s, want an error", k)
				}
				return
			}
			if err != nil || k.String() != c.want {
				t.Errorf("%s, %v, want %s", k, err, c.want)
			}
		})
	}
}
