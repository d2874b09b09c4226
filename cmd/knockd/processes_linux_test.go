package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
)

// How many programs one command may start: each costs its start, and a reading of its own.
const (
	mostOfStatus  = 4
	mostOfLeases  = 3 // of grant and revoke
	mostOfInstall = 8 // and of remove
)

// TestACommandStartsFewProgramsHoweverManyProfilesThereAre counts all that run below
// knockd, those that its tools start too.
func TestACommandStartsFewProgramsHoweverManyProfilesThereAre(t *testing.T) {
	labtest.Need(t, "strace")
	for _, profiles := range []int{1, 60} {
		t.Run(fmt.Sprint(profiles), func(t *testing.T) {
			atOnce(t, func(t *testing.T, s *site) {
				for i := range profiles {
					s.profile(fmt.Sprintf("p%02d", i), numbered(i))
				}
				for _, c := range []struct {
					name   string
					most   int
					before func()
					args   []string
				}{
					{"the first install", mostOfInstall, nil, []string{"install"}},
					{"an install again", mostOfInstall, nil, []string{"install"}},
					{"an install of one more", mostOfInstall, func() { s.profile("more", mysql) }, []string{"install", "more"}},
					{"an install of another version", mostOfInstall, func() { s.profile("more", mysql+"lease = \"2h\"\n") }, []string{"install", "more"}},
					{"a grant", mostOfLeases, nil, []string{"grant", "more", "10.9.0.1"}},
					{"a grant over IPv6", mostOfLeases, nil, []string{"grant", "more", "2001:db8:9::1"}},
					{"a grant for a time of its own", mostOfLeases, nil, []string{"grant", "more", "10.9.0.2", "--for", "30m"}},
					{"a grant to a prefix", mostOfLeases, nil, []string{"grant", "more", "10.9.1.0/24"}},
					{"status", mostOfStatus, nil, []string{"status"}},
					{"status of one", mostOfStatus, nil, []string{"status", "more", "--check"}},
					{"an end of a lease", mostOfLeases, nil, []string{"revoke", "more", "10.9.0.1"}},
					{"an end of all leases", mostOfLeases, nil, []string{"revoke", "more", "--all"}},
					{"a removal of one", mostOfInstall, nil, []string{"remove", "more"}},
					{"a removal of all", mostOfInstall, nil, []string{"remove", "--all"}},
				} {
					if c.before != nil {
						c.before()
					}
					s.startsFew(c.name, c.most, c.args...)
				}
			})
		})
	}
}

// TestRulesOfOthersAreReadByNoMorePrograms: what they do to ours is part of the answer.
func TestRulesOfOthersAreReadByNoMorePrograms(t *testing.T) {
	labtest.Need(t, "strace")
	atOnce(t, func(t *testing.T, s *site) {
		s.tool("table inet other {\n\tchain input {\n\t\ttype filter hook input priority 10; policy accept;\n\t\ttcp dport 80 drop\n\t}\n}\n", "nft", "-f", "-")
		for _, tool := range []string{"iptables", "ip6tables"} {
			s.sh(tool+" -N OTHER", tool+" -A OTHER -p tcp --dport 80 -j DROP", tool+" -A INPUT -j OTHER", tool+" -t nat -A PREROUTING -p tcp --dport 81 -j REDIRECT --to-ports 82")
		}
		s.profile("mysql", mysql)
		s.startsFew("the first install", mostOfInstall, "install")
		s.startsFew("an install again", mostOfInstall, "install")
		s.startsFew("status", mostOfStatus, "status")
	})
}

// startsFew runs the program, and fails if it starts more than so many others.
func (s *site) startsFew(what string, most int, args ...string) {
	s.t.Helper()
	out, started := s.counted(args...)
	if out.Code != 0 {
		s.t.Fatalf("%s: exit %d\n%s%s", what, out.Code, out.Stdout, out.Stderr)
	}
	s.t.Logf("%s: %d", what, len(started))
	if len(started) > most {
		s.t.Errorf("%s starts %d programs, not at most %d:\n%s", what, len(started), most, strings.Join(started, "\n"))
	}
}

// counted runs the program to its end, and returns the command lines of all the programs
// below it.
func (s *site) counted(args ...string) (out lab.Output, started []string) {
	s.t.Helper()
	file := filepath.Join(s.t.TempDir(), "strace")
	words := []string{"-f", "--seccomp-bpf", "-qq", "-e", "signal=none", "-e", "trace=execve", "-o", file, program(s.t), "--config", s.config}
	out = s.try("", "strace", append(words, args...)...)
	text, err := os.ReadFile(file)
	if err != nil {
		s.t.Fatal(err)
	}
	started, err = programs(string(text))
	if err != nil {
		s.t.Fatal(err)
	}
	return out, started[1:] // the first is knockd itself
}

// A line of strace's: a call, or its end where another process's came in between.
var (
	execve  = regexp.MustCompile(`^(\d+) +execve\("[^"]*", (\[.*?\]),? .*?(= 0|= -1 .*|<unfinished \.\.\.>)$`)
	resumed = regexp.MustCompile(`^(\d+) +<\.\.\. execve resumed>.*(= 0|= -1 .*)$`)
)

// programs returns the command lines that ran, in their order: what was not found is none.
func programs(strace string) ([]string, error) {
	var all []string
	unfinished := map[string]string{} // by process
	for line := range strings.Lines(strace) {
		line = strings.TrimSuffix(line, "\n")
		switch call, end := execve.FindStringSubmatch(line), resumed.FindStringSubmatch(line); {
		case call != nil && call[3] == "= 0":
			all = append(all, call[2])
		case call != nil && strings.HasPrefix(call[3], "<"):
			unfinished[call[1]] = call[2]
		case end != nil && end[2] == "= 0":
			all = append(all, unfinished[end[1]])
		case call == nil && end == nil && strings.Contains(line, "execve"):
			return nil, fmt.Errorf("strace says %q", line)
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("strace saw no program in %q", strace)
	}
	return all, nil
}

func TestAProgramIsCountedOnceAndWhatWasNotFoundIsNone(t *testing.T) {
	got, err := programs(`10    execve("/bin/knockd", ["knockd", "status"], 0x7ffd /* 9 vars */) = 0
12    execve("/sbin/nft", ["nft", "-f", "-"], 0xc000 /* 9 vars */ <unfinished ...>
11    execve("/bin/x", ["x"], 0xc000 /* 9 vars */) = -1 ENOENT (No such file or directory)
13    ???( <detached ...>
12    <... execve resumed>)             = 0
`)
	if want := `["knockd", "status"], ["nft", "-f", "-"]`; err != nil || strings.Join(got, ", ") != want {
		t.Errorf("%q (%v), want %s", got, err, want)
	}
}

// numbered is one of up to a hundred profiles that share no port.
func numbered(i int) string {
	return fmt.Sprintf("sequence = [\"%d/tcp\", \"%d/udp\", \"%d/tcp\"]\nopen = [\"%d/tcp\"]\n", 21000+i, 22000+i, 23000+i, 24000+i)
}
