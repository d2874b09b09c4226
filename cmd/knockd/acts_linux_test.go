package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
	"knockkit/internal/say"
	"knockkit/server/events"
)

// act is a command, and the events that it makes: "event profile address".
type act struct {
	command string
	events  []string
}

// actsByHand are the acts that every watcher and the service have to tell once each. Two addresses
// have leases by a knock, two are banned.
func actsByHand() []act {
	return []act{
		{"install web", []string{"install web "}},
		{"grant mysql 10.9.0.3", []string{"grant mysql 10.9.0.3"}},
		{"grant mysql 10.9.0.3 --for 30m", []string{"grant mysql 10.9.0.3"}},
		{"grant web 2001:db8:9:7::/64 --for 30m", []string{"grant web 2001:db8:9:7::/64"}},
		{"revoke mysql 10.9.0.1", []string{"revoke mysql 10.9.0.1"}},
		{"revoke mysql 10.9.0.1", nil},
		{"revoke mysql 10.9.0.0/30", []string{"revoke mysql 10.9.0.2", "revoke mysql 10.9.0.3"}},
		{"grant mysql 10.9.4.0/24", []string{"grant mysql 10.9.4.0/24"}},
		{"revoke mysql --all", []string{"revoke mysql 10.9.4.0/24", "revoke mysql 2001:db8:9:1::1"}},
		{"unban 10.9.0.8", []string{"unban  10.9.0.8"}},
		{"unban 10.9.0.8", nil},
		{"grant mysql 10.9.0.9 --for 30m", []string{"unban  10.9.0.9", "grant mysql 10.9.0.9"}},
		{"remove web", []string{"remove web "}},
		{"grant mysql 10.9.0.7 --for 1s", []string{"grant mysql 10.9.0.7"}},
	}
}

// byHand returns what events say that were made by hand, and all that ended a lease.
func byHand(t *testing.T, lines string) (all []string) {
	t.Helper()
	for line := range strings.Lines(lines) {
		var n events.Notice
		if err := json.Unmarshal([]byte(line), &n); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if n.By == nil && n.Kind != events.Expire {
			continue
		}
		all = append(all, fmt.Sprintf("%s %s %s", n.Kind, n.Profile, n.Address))
		if n.By != nil && (n.By.UID != 0 || n.By.SudoUser != "alice" || !strings.HasPrefix(n.By.Command, "knockd ")) {
			t.Errorf("by %+v: %s", *n.By, line)
		}
	}
	return all
}

// TestWhatAnOperatorDoesIsToldOnceWithWhoDidIt by a service, by a watch alone, and by several watches
// beside a service, whichever of them listens to the kernel.
func TestWhatAnOperatorDoesIsToldOnceWithWhoDidIt(t *testing.T) {
	eachBackend(t, func(t *testing.T, on *served) {
		for _, with := range []string{"a service", "a watch", "a service, then two watches", "a watch, then a service"} {
			t.Run(with, func(t *testing.T) {
				s := newServed(t, on.backend)
				s.env = []string{"SUDO_USER=alice"}
				s.settings(fmt.Sprintf("backend = %q\nban = { after = 1, for = \"10m\" }\n", s.backend))
				s.must("install")
				var service, texts, objects *running
				startWatches := func() { texts, objects = s.watch(), s.watch("--json") }
				switch with {
				case "a service":
					service = s.run()
				case "a watch":
					objects = s.watch("--json")
				case "a service, then two watches":
					service = s.run()
					startWatches()
				case "a watch, then a service":
					startWatches()
					service = s.run()
				}
				s.profile("web", "enabled = false\nsequence = [\"7001/tcp\"]\nopen = [\"80/tcp\"]\n")
				for i := 1; i <= 2; i++ {
					s.knock(lab.ForgedAddr4(i), "icmp", "7/tcp", "8000/tcp")
					s.knock(lab.ForgedAddr4(7+i), "icmp", "9/tcp")
				}
				s.knock(lab.ForgedAddr6(1), "icmp", "7/tcp", "8000/tcp")
				told := func(text string, in ...*safeBuffer) {
					t.Helper()
					for _, b := range in {
						eventuallyHas(t, b, text, soon)
					}
				}
				if service != nil {
					told("msg=grant profile=mysql address=2001:db8:9:1::1", service.log)
				}
				if objects != nil {
					told(`"event":"grant","profile":"mysql","address":"2001:db8:9:1::1"`, objects.out)
				}
				if texts != nil {
					told("2001:db8:9:1::1: mysql: open for 1h\n", texts.out)
				}
				var want []string
				for _, a := range actsByHand() {
					name, rest, _ := strings.Cut(a.command, " ")
					profile := name == "install" || name == "remove"
					if profile {
						// The file is enabled while it is installed: a service agrees.
						s.profile(rest, fmt.Sprintf("enabled = %v\nsequence = [\"7001/tcp\"]\nopen = [\"80/tcp\"]\n", name == "install"))
					}
					said := s.must(strings.Fields(a.command)...).Stderr
					if !profile && (strings.Count(said, "\n") != 1 || say.Width(strings.TrimSpace(said)) > 80) {
						t.Errorf("%s says not one line of 80 columns:\n%s", a.command, said)
					}
					want = append(want, a.events...)
				}
				// The end of the last lease is read in the kernel, as every other end would be by then.
				want = append(want, "expire mysql 10.9.0.7")
				if service != nil {
					s.eventually("all is logged", soon, func() bool { return strings.Contains(service.log.String(), "address=10.9.0.7 ") })
					for _, line := range slices.Compact(slices.Sorted(slices.Values(want))) {
						f := strings.Split(line, " ")
						if f[0] == "expire" {
							continue
						}
						entry := fmt.Sprintf("msg=%s profile=%s address=%s ", f[0], orEmpty(f[1]), orEmpty(f[2]))
						n := 0
						for l := range strings.Lines(service.log.String()) {
							if strings.Contains(l, entry) && strings.Contains(l, " by=alice uid=0 ") {
								n++
							}
						}
						if times := timesIn(want, line); n != times {
							t.Errorf("the service logs %d times, not %d times: %s", n, times, entry)
						}
					}
					if log := service.log.String(); strings.Contains(log, "rules had been changed") {
						t.Errorf("the service takes its own program for another tool:\n%s", log)
					}
				}
				if objects != nil {
					told(`"event":"expire","profile":"mysql","address":"10.9.0.7"`, objects.out)
					if diff := cmp.Diff(want, byHand(t, objects.out.String())); diff != "" {
						t.Errorf("events (-want +got):\n%s", diff)
					}
				}
				if texts != nil {
					told("10.9.0.7: mysql: the lease is over\n", texts.out)
					if n := strings.Count(texts.out.String(), ", by alice\n"); n != len(want)-1 {
						t.Errorf("%d lines by alice, not %d:\n%s", n, len(want)-1, texts.out.String())
					}
				}
			})
		}
	})
}

func orEmpty(text string) string {
	if text == "" {
		return `""`
	}
	return text
}

func timesIn(all []string, one string) (n int) {
	for _, a := range all {
		if a == one {
			n++
		}
	}
	return n
}

// TestATrialAndItsEndAreTold: an answer undoes it or keeps it, and the guard undoes it when the command is killed.
func TestATrialAndItsEndAreTold(t *testing.T) {
	eachBackend(t, func(t *testing.T, s *served) {
		s.env = []string{"SUDO_USER=alice"}
		s.must("install")
		s.profile("web", web)
		w := s.watch("--json")
		var want []string
		for _, c := range []struct {
			end  func(c *exec.Cmd, answer io.Writer) error
			act  string
			told string
			n    int
		}{
			{func(_ *exec.Cmd, answer io.Writer) error { _, err := io.WriteString(answer, "no\n"); return err }, "remove", "removed: the trial is undone", 1},
			{func(c *exec.Cmd, _ io.Writer) error { return c.Process.Kill() }, "remove", "removed: the trial is undone", 2},
			{func(_ *exec.Cmd, answer io.Writer) error { _, err := io.WriteString(answer, "yes\n"); return err }, "install", "installed: the trial is kept", 1},
		} {
			said := &safeBuffer{}
			trial := s.command("install", "web", "--try", "5m")
			answer, err := trial.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			trial.Stderr = said
			wait := labtest.Start(t, s.host, trial)
			eventuallyHas(t, said, "come back in 5m", soon)
			if err := c.end(trial, answer); err != nil {
				t.Fatal(err)
			}
			_ = wait() // it may have failed, or been killed
			want = append(want, "install web ", c.act+" web ")
			s.eventually("its end is told", soon, func() bool {
				return strings.Count(w.out.String(), `"detail":"`+c.told+`"`) == c.n
			})
		}
		if diff := cmp.Diff(want, byHand(t, w.out.String())); diff != "" {
			t.Error(diff)
		}
		if !strings.Contains(w.out.String(), `"detail":"installed for a trial of 5m"`) {
			t.Error(w.out.String())
		}
	})
}

// TestAnActThatNobodyWatchesDoesNotFail.
func TestAnActThatNobodyWatchesDoesNotFail(t *testing.T) {
	labtest.NeedRoot(t)
	s := newServedOn(t, "nftables")
	s.must("install")
	s.must("grant", "mysql", "10.9.0.1")
	s.must("revoke", "mysql", "--all")
	s.must("remove", "--all")
}
