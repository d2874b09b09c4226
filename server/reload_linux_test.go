package server_test

import (
	"context"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"knockkit/internal/kernel/backend"
	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
	"knockkit/protocol"
	"knockkit/server"
)

// TestAGateStaysShutWhileOtherProfilesComeAndGo, and while a trial is undone.
func TestAGateStaysShutWhileOtherProfilesComeAndGo(t *testing.T) {
	eachBackend(t, func(t *testing.T, name string) {
		s := newSite(t, name, strict())
		others := []*protocol.Profile{
			parse(t, "other", "sequence = [\"7001/tcp\", \"8001/tcp\"]\nopen = [\"81/tcp\", \"5000-5010/tcp\"]"),
			parse(t, "shared", "sequence = [\"7002/tcp\", \"8002/tcp\"]\nopen = [\"80/tcp\"]"),
			parse(t, "inside", "sequence = [\"7004/tcp\", \"8004/tcp\"]\nopen = [\"6005/tcp\"]"),
		}
		s.shutMeanwhile(func() {
			for range 8 {
				s.install(others...)
				s.do(func() error {
					_, err := s.srv.Remove(t.Context(), []string{"other", "shared", "inside"})
					return err
				})
			}
			for range 3 {
				var saved string
				s.do(func() (err error) {
					saved, err = s.srv.Save(t.Context())
					return err
				})
				s.install(others...)
				s.do(func() error { return s.srv.PutBack(t.Context(), saved) })
			}
		})
	})
}

func TestAGateStaysShutWhileTheBackendChanges(t *testing.T) {
	labtest.NeedTUN(t)
	labtest.NeedRoot(t)
	for _, flavour := range lab.Flavours() {
		t.Run(flavour.Name, func(t *testing.T) {
			t.Setenv("PATH", labtest.PathOf(t, flavour)+":"+os.Getenv("PATH"))
			s := newSite(t, "iptables", strict())
			more := parse(t, "more", "sequence = [\"7001/tcp\", \"8001/tcp\"]\nopen = [\"81/tcp\"]")
			s.shutMeanwhile(func() {
				for i := range 6 {
					b, _, err := server.OpenBackend(t.Context(), []string{"nftables", "iptables"}[i%2])
					if err != nil {
						t.Fatal(err)
					}
					s.srv = server.New(b, strict())
					s.install(more)
				}
			})
		})
	}
}

// shutMeanwhile gates two ports and lets connections of strangers come in on one
// processor all the while that change runs on the other. None may get an answer.
func (s *site) shutMeanwhile(change func()) {
	s.t.Helper()
	s.install(parse(s.t, "web", "sequence = [\"7000/tcp\", \"8000/tcp\"]\nopen = [\"80/tcp\", \"6000-6010/tcp\"]"))
	s.listen(80)
	s.listen(6005)
	ctx, stop := context.WithCancel(s.t.Context())
	defer stop()
	done := make(chan error, 1)
	sent := 0
	go func() {
		for ctx.Err() == nil {
			for _, port := range []uint16{80, 6005} {
				for _, f := range protocol.Families() {
					src := forged(f, 1000+sent%1000)
					syn := lab.SYN(netip.AddrPortFrom(src, uint16(20_000+sent%40_000)), netip.AddrPortFrom(s.dest(src), port))
					if err := s.wire.Inject(syn); err != nil {
						done <- err
						return
					}
					sent++
				}
			}
		}
		done <- nil
	}()
	change()
	stop()
	if err := <-done; err != nil {
		s.t.Fatal(err)
	}
	for _, p := range s.answers() {
		s.t.Errorf("one of %d strangers got an answer: %+v", sent, p)
	}
}

// TestAnInstallWithNftablesDoesNotTouchTheGatesThatStay: between an element's going and
// its coming back a packet may find neither.
func TestAnInstallWithNftablesDoesNotTouchTheGatesThatStay(t *testing.T) {
	s := newSite(t, "nftables", strict())
	web := func(more string) *protocol.Profile {
		return parse(t, "web", `sequence = ["7000/tcp", "8000/tcp"]
close = "9000/tcp"
open = ["80/tcp", "6000-6010/tcp"`+more+"]")
	}
	other := parse(t, "other", `sequence = ["7001/tcp", "8001/tcp"]
open = ["81/tcp", "5000-5010/tcp"]`)
	s.install(web(`, "443/tcp", "4000-4010/tcp"`))
	var texts []backend.Text
	s.do(func() (err error) {
		texts, err = s.srv.Texts(t.Context(), []*protocol.Profile{web(""), other})
		return err
	})
	text := texts[0].Text
	for _, gate := range []string{"tcp . 80 ", "tcp . 6000-6010 ", "tcp . 9000 ", "tcp . 7000 "} {
		if strings.Contains(text, gate) {
			t.Errorf("%q is written, and has not changed:\n%s", gate, text)
		}
	}
	if m := regexp.MustCompile(`flush map.*`).FindString(text); m != "" {
		t.Errorf("%s", m)
	}
	for _, line := range []string{
		"delete element inet knockd gates { tcp . 443 }\n", "delete element inet knockd gates-ranges { tcp . 4000-4010 }\n",
		"tcp . 81 : goto gate-tcp-81", "tcp . 5000-5010 : goto gate-tcp-5000-5010\n",
	} {
		if !strings.Contains(text, line) {
			t.Errorf("the text lacks %q:\n%s", line, text)
		}
	}
	s.install(web(""), other)
	want := map[string][]string{
		"gates":        {"tcp . 80 : goto gate-tcp-80", "tcp . 81 : goto gate-tcp-81"},
		"gates-ranges": {"tcp . 6000-6010 : goto gate-tcp-6000-6010", "tcp . 5000-5010 : goto gate-tcp-5000-5010"},
		"starts4":      {"tcp . 7000 : goto enter-web.1", "tcp . 7001 : goto enter-other.1"},
		"closes":       {"tcp . 9000 : jump close-tcp-9000"},
	}
	for name, elements := range want {
		listed := s.run("nft", "list", "map", "inet", "knockd", name)
		for _, e := range elements {
			if !strings.Contains(listed, e) {
				t.Errorf("%s lacks %q:\n%s", name, e, listed)
			}
		}
		if n := strings.Count(listed, " : goto ") + strings.Count(listed, " : jump "); n != len(elements) {
			t.Errorf("%s has %d elements, not %d:\n%s", name, n, len(elements), listed)
		}
	}
}

// TestPortsThatGetAnotherKeyAreShutForAMoment: a profile comes to open a port in the
// middle of another's range, which is cut in three.
func TestPortsThatGetAnotherKeyAreShutForAMoment(t *testing.T) {
	s := newSite(t, "nftables", strict())
	web := parse(t, "web", "sequence = [\"7000/tcp\", \"8000/tcp\"]\nopen = [\"6000-6010/tcp\"]\nplace = \"prerouting\"")
	inside := func(more string) *protocol.Profile {
		return parse(t, "inside", "sequence = [\"7001/tcp\", \"8001/tcp\"]\nopen = [\"6005/tcp\"]\nplace = \"prerouting\"\n"+more)
	}
	s.install(web)
	texts := s.texts([]*protocol.Profile{web, inside("")})
	if len(texts) != 3 {
		t.Fatalf("%d transactions, not three", len(texts))
	}
	for _, hook := range []string{"hook input priority filter - 11", "hook prerouting priority mangle - 1"} {
		if !strings.Contains(texts[0].Text, hook) {
			t.Errorf("nothing is shut at the %s:\n%s", hook, texts[0].Text)
		}
	}
	if n := strings.Count(texts[0].Text, "{ tcp . 6000-6010 } drop"); n != 2 {
		t.Errorf("the range is shut in %d places, not two:\n%s", n, texts[0].Text)
	}
	if err := s.refuse(web, inside("[opened]\nnftables = [\"no such words\"]")); err == nil {
		t.Error("nft took anything")
	}
	s.install(inside(""))
	for _, port := range []uint16{6004, 6005} {
		s.listen(port)
	}
	s.grant("web", forged4(1), 0)
	s.grant("inside", forged4(2), 0)
	for src, want := range map[netip.Addr][2]string{forged4(1): {"open", "open"}, forged4(2): {"silent", "open"}, forged4(3): {"silent", "silent"}} {
		s.expect(want[0], src, 6004)
		s.expect(want[1], src, 6005)
	}
	if n := len(s.texts([]*protocol.Profile{web, inside("")})); n > 1 {
		t.Errorf("an install that changes no key takes %d transactions", n)
	}
}

// TestATrialWithNftablesThatIsUndoneBringsBackWhatItTookAway: leases and positions of
// profiles that it removed, and leases that it made shorter; what came meanwhile stays.
func TestATrialWithNftablesThatIsUndoneBringsBackWhatItTookAway(t *testing.T) {
	s := newSite(t, "nftables", banning(time.Hour))
	web := parse(t, "web", "sequence = [\"7001/tcp\", \"8001/tcp\"]\nopen = [\"80/tcp\"]\nlease = \"10m\"")
	short := func(lease string) *protocol.Profile {
		return parse(t, "short", "sequence = [\"7005/tcp\", \"8005/tcp\"]\nopen = [\"82/tcp\"]\nlease = \""+lease+"\"")
	}
	keeps := parse(t, "keeps", "sequence = [\"7002/tcp\", \"8002/tcp\"]\nopen = [\"81/tcp\"]\nlease = \"0\"")
	for _, port := range []uint16{80, 81, 82, 3306} {
		s.listen(port)
	}
	s.install(article(t, "within = \"5m\""), web, keeps, short("1h"))
	holder, knocker, later := forged4(1), forged4(2), forged4(3)
	for _, name := range []string{"web", "keeps", "mysql", "short"} {
		s.grant(name, holder, 0)
	}
	s.send(knocker, ping, tcp(7))
	before := s.run("nft", "-s", "list", "table", "inet", "knockd")
	undo := s.try(parse(t, "mysql", "sequence = [\"7003/tcp\", \"8003/tcp\"]\nopen = [\"3306/tcp\"]\nlease = \"2m\""), short("1s"))
	s.send(later, tcp(7003), tcp(8003))
	s.untilSilent(holder, 82)
	undo()

	for _, port := range []uint16{80, 81, 82, 3306} {
		s.expect("open", holder, port)
	}
	s.expect("open", later, 3306)
	s.send(knocker, tcp(8000))
	s.expect("open", knocker, 3306)
	for _, x := range s.sources() {
		if x.Profile == "web" && (x.Left > 10*time.Minute || x.Left < 9*time.Minute) {
			t.Errorf("the lease of web has %s left, and was of ten minutes", x.Left)
		}
		if x.Profile == "mysql" && x.Left < 50*time.Minute {
			t.Errorf("the lease of mysql has %s left, and was of an hour", x.Left)
		}
	}
	if after := s.run("nft", "-s", "list", "table", "inet", "knockd"); sortedLines(withoutElements(after)) != sortedLines(withoutElements(before)) {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

// withoutElements leaves out what packets have put into sets, and the count of positions.
func withoutElements(table string) string {
	table = regexp.MustCompile(`'next':\d+`).ReplaceAllString(table, "")
	table = withoutSeal(table)
	return regexp.MustCompile(`(?s)(flags dynamic,timeout\n)\t\telements = \{.*?\}\n`).ReplaceAllString(table, "$1")
}

// withoutSeal leaves out the marks by which a change of rules is found.
func withoutSeal(table string) string {
	return regexp.MustCompile(`(?s)\tchain seal \{.*?\n\t\}\n`).ReplaceAllString(table, "")
}

func sortedLines(text string) string {
	all := strings.Split(text, "\n")
	slices.Sort(all)
	return strings.Join(all, "\n")
}

// TestAHoldThatAKillLeftIsTakenAwayByTheNextCommit, whether or not that needs one itself,
// and status says what it is.
func TestAHoldThatAKillLeftIsTakenAwayByTheNextCommit(t *testing.T) {
	s := newSite(t, "nftables", strict())
	s.listen(6015)
	web := parse(t, "web", "sequence = [\"7000/tcp\", \"8000/tcp\"]\nopen = [\"6000-6010/tcp\"]")
	wide := parse(t, "wide", "sequence = [\"7001/tcp\", \"8001/tcp\"]\nopen = [\"6005-6020/tcp\"]")
	for _, next := range []*protocol.Profile{web, wide} {
		s.do(func() error {
			_, err := s.srv.Install(t.Context(), []*protocol.Profile{web}, server.InstallOptions{Exactly: true})
			return err
		})
		labtest.MustRun(t, s.host, s.texts([]*protocol.Profile{web, wide})[0].Text, "nft", "-f", "-")
		if drift := strings.Join(s.installed().Drift, "\n"); !strings.Contains(drift, "chain barrier is left of a commit that was interrupted") {
			t.Errorf("status says %q", drift)
		}
		s.install(next)
		if drift := s.installed().Drift; len(drift) > 0 {
			t.Errorf("after an install: %q", drift)
		}
	}
	s.grant("wide", forged4(1), 0)
	s.expect("open", forged4(1), 6015)
	s.expect("silent", forged4(2), 6015)
}

// TestALeaseOfOnceThatIsUsedWhileItsTimeIsChangedStaysUsed, and others stay.
func TestALeaseOfOnceThatIsUsedWhileItsTimeIsChangedStaysUsed(t *testing.T) {
	s := newSite(t, "nftables", strict())
	s.listen(80)
	once := func(lease string) *protocol.Profile {
		return parse(t, "once", "sequence = [\"7000/tcp\", \"8000/tcp\"]\nopen = [\"80/tcp\"]\nonce = true\nlease = \""+lease+"\"")
	}
	s.install(once("1h"))
	for i := range 30 {
		s.grant("once", forged4(1), 0)
		s.grant("once", forged4(2), 0)
		used := make(chan string)
		go func() {
			time.Sleep(time.Duration(i) * time.Millisecond) // some moment of the commit
			used <- s.verdict(forged4(1), 80)
		}()
		s.install(once([]string{"30m", "1h"}[i%2]))
		if got := <-used; got != "open" {
			t.Fatalf("the lease opened nothing: %s", got)
		}
		if s.holds("once", forged4(1)) || !s.holds("once", forged4(2)) {
			t.Fatalf("round %d: a lease that was used up is back, or another is gone: %+v", i, s.sources())
		}
		s.revoke("once", forged4(2), false)
	}
}
