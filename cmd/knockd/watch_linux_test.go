package main

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
	"knockkit/internal/say"
)

func TestWatchExplainsAWrongOrderATooSlowKnockAndARightOneWithinASecond(t *testing.T) {
	eachBackend(t, func(t *testing.T, s *served) {
		s.profile("mysql", articleProfile+"within = \"2s\"\n")
		s.must("install")
		w := s.watch()
		for _, family := range []struct {
			wrong, right, slow string
		}{
			{lab.ForgedAddr4(1).String(), lab.ForgedAddr4(2).String(), lab.ForgedAddr4(3).String()},
			{lab.ForgedAddr6(1).String(), lab.ForgedAddr6(2).String(), lab.ForgedAddr6(3).String()},
		} {
			s.knock(addr(family.wrong), "icmp", "8000/tcp", "7/tcp", "3306/tcp")
			w.shows(family.wrong+": mysql: starts over: knock 2 was 8000/tcp, not 7/tcp\n", time.Second)
			w.shows(family.wrong+": mysql: no lease for 3306/tcp: knock 2 was 8000/tcp\n", time.Second)

			s.knock(addr(family.right), "icmp", "7/tcp")
			w.shows(family.right+": mysql: knock 2 of 3\n", time.Second)
			s.knock(addr(family.right), "8000/tcp")
			w.shows(family.right+": mysql: open for 1h\n", time.Second)

			began := time.Now()
			s.knock(addr(family.slow), "icmp")
			slow := family.slow + ": mysql: starts over: no knock 2 within 2s\n"
			w.shows(slow, 3*time.Second) // a second after its time is over
			if took := time.Since(began); took < 2*time.Second {
				t.Errorf("%q after %s, before the time was over", slow, took)
			}
		}
		if code := w.stop(); code != 0 {
			t.Errorf("exit code %d", code)
		}
	})
}

func TestWatchBesideAServiceTwoWatchesAndWatchAlone(t *testing.T) {
	eachBackend(t, func(t *testing.T, s *served) {
		service := s.run()
		first, second := s.watch(), s.watch("--json")
		first.logs("reads from another knockd")
		second.logs("reads from another knockd")
		s.knock(lab.ForgedAddr4(1), "icmp")
		first.shows("10.9.0.1: mysql: knock 1 of 3\n", time.Second)
		second.shows(`"event":"knock"`, time.Second)
		service.stop()
		// One of the two takes its place, and serves the other.
		s.eventually("somebody listens", soon, func() bool {
			return strings.Contains(first.log.String()+second.log.String(), "listens to the kernel")
		})
		third := s.watch()
		s.eventually("both get events", soon, func() bool {
			s.knock(lab.ForgedAddr4(2), "icmp", "9/tcp") // the second starts over: each round is news
			return strings.Contains(first.out.String(), "10.9.0.2: ") && strings.Contains(second.out.String(), "10.9.0.2") && strings.Contains(third.out.String(), "10.9.0.2: ")
		})
		for _, w := range []*running{first, second, third} {
			w.stop()
		}
		// And a service beside a watch that was there before.
		alone := s.watch()
		alone.logs("listens to the kernel")
		later := s.run()
		later.logs("role=\"reads from another knockd\"")
		s.knock(lab.ForgedAddr4(3), "icmp", "7/tcp", "8000/tcp")
		later.logs("msg=grant profile=mysql address=10.9.0.3")
		alone.shows("10.9.0.3: mysql: open for 1h\n", time.Second)
	})
}

func TestALineOfJSONHasEveryFieldOfTheDesign(t *testing.T) {
	eachBackend(t, func(t *testing.T, s *served) {
		s.must("install")
		w := s.watch("--json")
		s.knock(lab.ForgedAddr6(7), "icmp", "7/tcp", "8000/tcp")
		w.shows(`"event":"grant"`, time.Second)
		var kinds []string
		for line := range strings.Lines(w.out.String()) {
			var fields map[string]any
			if err := json.Unmarshal([]byte(line), &fields); err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"time", "event", "profile", "address", "step", "steps", "detail"} {
				if _, has := fields[name]; !has {
					t.Errorf("%s lacks %q", line, name)
				}
			}
			if fields["address"] != "2001:db8:9:7::1" || fields["profile"] != "mysql" || fields["steps"] != 3.0 {
				t.Errorf("%s", line)
			}
			kinds = append(kinds, fields["event"].(string))
		}
		if got := strings.Join(kinds, " "); got != "knock knock knock grant" {
			t.Errorf("events %s", got)
		}
	})
}

// TestTenRefusedConnectionsAreOneLineAndTenObjects: within 80 columns.
func TestTenRefusedConnectionsAreOneLineAndTenObjects(t *testing.T) {
	eachBackend(t, func(t *testing.T, s *served) {
		s.must("install")
		lines, objects := s.watch(), s.watch("--json")
		for _, src := range []netip.Addr{lab.ForgedAddr4(1), lab.ForgedAddr6(1)} {
			s.knock(src, slices.Repeat([]string{"3306/tcp"}, 10)...)
			lines.shows(src.String()+": mysql: no lease for 3306/tcp: no knock was seen ×10\n", time.Second)
			s.knock(src, "icmp")
			lines.shows(src.String()+": mysql: knock 1 of 3\n", time.Second)
			s.knock(src, "8000/tcp", "3306/tcp", "3306/tcp")
			objects.shows(`"`+src.String()+`","step":0,"steps":3,"detail":"no lease for 3306/tcp: knock 2 was 8000/tcp"`, time.Second)
		}
		s.eventually("all is told", soon, func() bool { return strings.Count(objects.out.String(), "was 8000/tcp\"") == 4 })
		lines.stop() // what waits is not lost
		for _, src := range []netip.Addr{lab.ForgedAddr4(1), lab.ForgedAddr6(1)} {
			if n := strings.Count(lines.out.String(), src.String()+": mysql: no lease"); n != 2 || !strings.Contains(lines.out.String(), src.String()+": mysql: no lease for 3306/tcp: knock 2 was 8000/tcp ×2\n") {
				t.Errorf("%d lines of %s, not 2:\n%s", n, src, lines.out)
			}
			if n := strings.Count(objects.out.String(), `"event":"denied","profile":"mysql","address":"`+src.String()+`"`); n != 12 {
				t.Errorf("%d objects of %s, not 12:\n%s", n, src, objects.out)
			}
		}
		for line := range strings.Lines(lines.out.String()) {
			if say.Width(line) > 80+len("\n") {
				t.Errorf("wider than 80 columns: %s", line)
			}
		}
	})
}

func TestWatchTellsOfBansAndOfLeasesThatEnd(t *testing.T) {
	eachBackend(t, func(t *testing.T, s *served) {
		s.settings(fmt.Sprintf("backend = %q\nban = { after = 2, for = \"10m\" }\n", s.backend))
		s.profile("mysql", articleProfile+"lease = \"2s\"\n")
		s.must("install")
		w := s.watch()
		for _, src := range [][2]netip.Addr{{lab.ForgedAddr4(1), lab.ForgedAddr4(2)}, {lab.ForgedAddr6(1), lab.ForgedAddr6(2)}} {
			s.knock(src[0], "icmp", "7/tcp", "8000/tcp")
			s.knock(src[1], "icmp", "9/tcp", "icmp", "9/tcp")
			w.shows(src[1].String()+": started over for the 2. time: banned for 10m\n", time.Second)
		}
		for _, src := range []netip.Addr{lab.ForgedAddr4(1), lab.ForgedAddr6(1)} {
			w.shows(src.String()+": mysql: the lease is over\n", soon)
		}
	})
}

func TestAWatchThatWasThereBeforeTheProfileTellsItsKnocksInFull(t *testing.T) {
	eachBackend(t, func(t *testing.T, s *served) {
		w := s.watch()
		began := time.Now()
		s.must("install")
		time.Sleep(2*time.Second - time.Since(began)) // it does not look more often
		s.knock(lab.ForgedAddr4(1), "icmp", "7/tcp", "8000/tcp")
		w.shows("10.9.0.1: mysql: knock 1 of 3\n", time.Second)
		w.shows("10.9.0.1: mysql: open for 1h\n", time.Second)
	})
}

// TestAFloodLosesEventsButNotMemory reports each packet of a flood, far more than
// the limits of our own rules would let through, to a watch that is held up.
func TestAFloodLosesEventsButNotMemory(t *testing.T) {
	labtest.NeedRoot(t)
	labtest.Need(t, "nft")
	s := newServed(t, "nftables")
	s.must("install")
	labtest.MustRun(t, s.host, "add table inet flood\n"+
		"add chain inet flood in { type filter hook input priority -300; }\n"+
		"add rule inet flood in udp dport 9 log group 7115 snaplen 128 prefix \"knockd knock mysql 1\"\n", "nft", "-f", "-")
	w := s.watch()
	const packets = 500_000
	highest := 0
	for i := range packets {
		switch i {
		case packets / 4:
			s.signal(w, unix.SIGSTOP)
		case packets / 2:
			s.signal(w, unix.SIGCONT)
		}
		s.knock(lab.ForgedAddr4(i%65536), "9/udp")
		if i%25_000 == 0 {
			highest = max(highest, residentKB(t, w.cmd.Process.Pid))
			if _, err := s.wire.Drain(); err != nil {
				t.Fatal(err)
			}
		}
	}
	w.logs("events were lost: ")
	s.knock(lab.ForgedAddr4(1), "icmp")
	w.shows("10.9.0.1: mysql: knock 1 of 3", soon)
	highest = max(highest, residentKB(t, w.cmd.Process.Pid))
	t.Logf("resident at most %d KiB", highest)
	if highest > 64<<10 {
		t.Errorf("%d KiB are resident", highest)
	}
}

func (s *served) signal(r *running, sig unix.Signal) {
	s.t.Helper()
	if err := r.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

func TestWatchWithoutTheRightToSaysHowToGetIt(t *testing.T) {
	labtest.NeedRoot(t)
	labtest.Need(t, "setpriv")
	s := newServed(t, "nftables")
	out := labtest.Run(t, s.host, "", "setpriv", "--bounding-set=-all", "--inh-caps=-all", "--reuid=65534", "--clear-groups",
		program(t), "--config", "/", "watch")
	if out.Code != 4 || !strings.Contains(out.Stderr, "hint: run it as root: sudo knockd") {
		t.Errorf("exit %d: %s", out.Code, out.Stderr)
	}
}
