package events

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"knockkit/internal/kernel/backend"
	"knockkit/internal/rights"
	"knockkit/protocol"
	"knockkit/protocol/format"
)

// teller's tests run on a clock of their own.
type played struct {
	t     *testing.T
	story *tracker
	now   Moment
}

func installed(t *testing.T, files map[string]string) backend.Installed {
	t.Helper()
	var in backend.Installed
	for name, text := range files {
		p, diagnostics := format.ParseProfile(name+".toml", []byte(text))
		if diagnostics.HasErrors() {
			t.Fatal(diagnostics)
		}
		in.Profiles = append(in.Profiles, p)
	}
	slices.SortFunc(in.Profiles, func(x, y *protocol.Profile) int { return len(x.Name) - len(y.Name) })
	in.Policy = protocol.Policy{Strict: true, Ban: &protocol.Ban{After: 3, For: 10 * time.Minute}}
	return in
}

func article() map[string]string {
	return map[string]string{"mysql": "sequence = [\"icmp\", \"7/tcp\", \"8000/tcp\"]\nopen = [\"3306/tcp\"]\n"}
}

func play(t *testing.T, files map[string]string) *played {
	return &played{t, newTracker(installed(t, files)), Moment{Wall: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)}}
}

func (p *played) pass(d time.Duration) { p.now = Moment{p.now.Wall.Add(d), p.now.Up + d} }

// report plays one report: a prefix as the rules have it, and what came.
func (p *played) report(prefix, kind string) []Notice {
	p.t.Helper()
	r := report{Packet: packet{Source: netip.MustParseAddr("10.9.0.1"), Kind: kind}}
	var ok bool
	if r.Event, r.Profile, r.Step, ok = backend.ParseLogPrefix("knockd " + prefix); !ok {
		p.t.Fatalf("no prefix of ours: %q", prefix)
	}
	return p.story.report(p.now, r)
}

// expect fails unless the events are these: "kind profile step/steps: detail".
func (p *played) expect(got []Notice, want ...string) {
	p.t.Helper()
	var texts []string
	for _, e := range got {
		if !e.Time.Equal(p.now.Wall) || (e.Address != "10.9.0.1") {
			p.t.Errorf("%+v", e)
		}
		texts = append(texts, fmt.Sprintf("%s %s %d/%d: %s", e.Kind, e.Profile, e.Step, e.Steps, e.Detail))
	}
	if diff := cmp.Diff(want, texts); diff != "" {
		p.t.Error(diff)
	}
}

func TestARightSequenceIsToldStepByStep(t *testing.T) {
	p := play(t, article())
	p.expect(p.report("knock mysql 1", "icmp"), "knock mysql 1/3: knock 1 of 3")
	p.expect(p.report("knock mysql 1", "icmp"), "knock mysql 1/3: knock 1 of 3, the same again")
	p.expect(p.report("knock mysql 2", "7/tcp"), "knock mysql 2/3: knock 2 of 3")
	p.expect(p.report("knock mysql 3", "8000/tcp"), "knock mysql 3/3: knock 3 of 3")
	p.expect(p.report("grant mysql", "8000/tcp"), "grant mysql 3/3: open for 1h")
}

func TestAFallSaysWhatCameAndWhatWasExpected(t *testing.T) {
	p := play(t, article())
	p.report("knock mysql 1", "icmp")
	p.expect(p.report("reset mysql 1", "8000/tcp"), "reset mysql 1/3: starts over: knock 2 was 8000/tcp, not 7/tcp")
	p.expect(p.report("denied mysql", "3306/tcp"), "denied mysql 0/3: no lease for 3306/tcp: knock 2 was 8000/tcp")
	p.report("knock mysql 1", "icmp") // a new try: the old fall is no reason any more
	p.expect(p.report("reset mysql 1", "3306/tcp"), "reset mysql 1/3: starts over: knock 2 was 3306/tcp, not 7/tcp")
}

// TestWhoHasNoLeaseIsToldWhyAsFarAsThatIsKnown: the listener may be younger than a lease, and learns of
// a lease's end later than the gate.
func TestWhoHasNoLeaseIsToldWhyAsFarAsThatIsKnown(t *testing.T) {
	const no = "denied mysql 0/3: no lease for 3306/tcp: "
	p := play(t, article())
	p.expect(p.report("denied mysql", "3306/tcp"), no+"no knock was seen")
	p.report("knock mysql 1", "icmp")
	p.expect(p.report("denied mysql", "3306/tcp"), no+"no knock 2 yet")
	for i, kind := range []string{"7/tcp", "8000/tcp"} {
		p.report(fmt.Sprintf("knock mysql %d", i+2), kind)
	}
	p.report("grant mysql", "8000/tcp")
	p.expect(p.report("denied mysql", "3306/tcp"), no+"its lease has ended")
	p.story.act(p.now, by(Act{Kind: Remove, Profile: "mysql"}))
	p.expect(p.report("denied mysql", "3306/tcp"), no+"the profile was removed")
}

// TestWhoseLeaseCoveredAPrefixIsToldWhyThatHasEnded: whoever knocked for it, whoever was forgotten since,
// and whatever was said of the address before.
func TestWhoseLeaseCoveredAPrefixIsToldWhyThatHasEnded(t *testing.T) {
	const no = "denied mysql 0/3: no lease for 3306/tcp: "
	p := play(t, map[string]string{"mysql": article()["mysql"] + "prefix = { ipv4 = 24 }\nlease = \"1h\"\n"})
	opened := func() {
		p.report("knock mysql 3", "8000/tcp")
		p.report("grant mysql", "8000/tcp")
	}
	over := func(d time.Duration) {
		for ; d > 0; d -= time.Minute {
			p.pass(time.Minute)
			p.story.tick(p.now)
		}
	}
	opened()
	over(61 * time.Minute)
	p.expect(p.report("denied mysql", "3306/tcp"), no+"its time is over")
	over(11 * time.Minute)
	p.expect(p.report("denied mysql", "3306/tcp"), no+"no knock was seen")

	act := func(kind Kind, holder string) {
		p.story.act(p.now, by(Act{Kind: kind, Profile: "mysql", Address: netip.MustParsePrefix(holder), Lease: time.Minute}))
	}
	act(Grant, "10.9.0.1/32")
	act(Revoke, "10.9.0.1/32")
	p.expect(p.report("denied mysql", "3306/tcp"), no+"it was revoked")
	act(Grant, "10.9.0.0/28")
	over(2 * time.Minute)
	p.expect(p.report("denied mysql", "3306/tcp"), no+"its time is over")
	act(Grant, "10.9.0.0/16")
	act(Revoke, "10.9.0.0/16")
	p.expect(p.report("denied mysql", "3306/tcp"), no+"it was revoked")
	act(Grant, "10.9.0.0/24")
	act(Revoke, "10.9.0.128/25")
	p.expect(p.report("denied mysql", "3306/tcp"), no+"it was revoked") // of the /16, and not of the other half
	opened()
	over(61 * time.Minute)
	p.expect(p.report("denied mysql", "3306/tcp"), no+"its time is over")
}

// TestAReasonIsThatOfTheProfileWhoseGateRefused: an address may have lost another lease, or fallen from
// another sequence.
func TestAReasonIsThatOfTheProfileWhoseGateRefused(t *testing.T) {
	files := article()
	files["web"] = "sequence = [\"7001/tcp\", \"7002/udp\"]\nopen = [\"80/tcp\"]\n"
	const no = "denied mysql 0/3: no lease for 3306/tcp: "
	lease := func(kind Kind) Act {
		return Act{Kind: kind, Profile: "web", Address: netip.MustParsePrefix("10.9.0.1/32"), Lease: time.Minute}
	}
	p := play(t, files)
	p.story.act(p.now, by(lease(Grant)))
	p.story.act(p.now, by(lease(Revoke)))
	p.expect(p.report("denied mysql", "3306/tcp"), no+"no knock was seen")
	p.expect(p.report("denied web", "80/tcp"), "denied web 0/2: no lease for 80/tcp: it was revoked")
	p.report("knock web 1", "7001/tcp")
	p.report("reset web 1", "9/tcp")
	p.expect(p.report("denied mysql", "3306/tcp"), no+"no knock was seen")
	p.expect(p.report("denied web", "80/tcp"), "denied web 0/2: no lease for 80/tcp: knock 2 was 9/tcp")
	p.story.act(p.now, by(lease(Grant)))
	p.expect(p.report("denied web", "80/tcp"), "denied web 0/2: no lease for 80/tcp: its lease has ended")
}

// TestALeaseThatEndedEarlyIsSaidToBeGivenBackOrUsedUpWhereThatCanBe, and else not.
func TestALeaseThatEndedEarlyIsSaidToBeGivenBackOrUsedUpWhereThatCanBe(t *testing.T) {
	for more, want := range map[string]struct{ end, why string }{
		"":                                 {"the lease ended early", "its lease ended early"},
		"close = \"9/tcp\"\n":              {"the lease ended early: given back", "given back"},
		"once = true\n":                    {"the lease ended early: used up", "used up"},
		"close = \"9/tcp\"\nonce = true\n": {"the lease ended early: given back or used up", "given back or used up"},
	} {
		files := map[string]string{"mysql": article()["mysql"] + more}
		p := play(t, files)
		p.report("grant mysql", "8000/tcp")
		p.pass(time.Second)
		p.expect(p.story.sync(p.now, p.now, installed(t, files), nil), "expire mysql 3/3: "+want.end)
		p.expect(p.report("denied mysql", "3306/tcp"), "denied mysql 0/3: no lease for 3306/tcp: "+want.why)
	}
}

func TestABanIsToldWithItsTime(t *testing.T) {
	p := play(t, article())
	p.expect(p.report("ban", "9/tcp"), "ban  0/0: started over for the 3. time: banned for 10m")
}

func TestAPositionsEndIsCounted(t *testing.T) {
	p := play(t, article())
	p.report("knock mysql 1", "icmp")
	p.pass(10 * time.Second)
	p.expect(p.story.tick(p.now)) // the next knock's report may be on its way
	p.pass(grace + time.Millisecond)
	p.expect(p.story.tick(p.now), "expire mysql 1/3: starts over: no knock 2 within 10s")
	p.expect(p.story.tick(p.now)) // once
	p.expect(p.report("denied mysql", "3306/tcp"), "denied mysql 0/3: no lease for 3306/tcp: no knock 2 within 10s")
}

// TestAStepOfTheMachinesClockEndsNothing sets the clock by an hour each way.
func TestAStepOfTheMachinesClockEndsNothing(t *testing.T) {
	for _, step := range []time.Duration{time.Hour, -time.Hour} {
		t.Run(step.String(), func(t *testing.T) {
			p := play(t, article())
			p.report("knock mysql 1", "icmp")
			p.report("grant mysql", "icmp")
			p.now.Wall = p.now.Wall.Add(step)
			p.expect(p.story.tick(p.now))
			if p.story.wantsRead(p.now) {
				t.Error("a lease should be over")
			}
			p.pass(11 * time.Second)
			p.expect(p.story.tick(p.now), "expire mysql 1/3: starts over: no knock 2 within 10s")
		})
	}
}

func TestASharedPositionIsToldForEachProfile(t *testing.T) {
	p := play(t, map[string]string{
		"mysql":  "sequence = [\"icmp\", \"7/tcp\", \"8000/tcp\"]\nopen = [\"3306/tcp\"]\n",
		"shared": "sequence = [\"icmp\", \"7/tcp\"]\nopen = [\"80/tcp\"]\n"})
	p.expect(p.report("knock mysql 1", "icmp"), "knock mysql 1/3: knock 1 of 3", "knock shared 1/2: knock 1 of 2")
	p.expect(p.report("knock mysql 2", "7/tcp"), "knock mysql 2/3: knock 2 of 3", "knock shared 2/2: knock 2 of 2")
	// One of them is through: only the other one can fall.
	p.expect(p.report("reset mysql 2", "9/tcp"), "reset mysql 2/3: starts over: knock 3 was 9/tcp, not 8000/tcp")
}

// TestGoingOnWithTheEndOfAnotherSequenceIsAFallFromTheFirst: no rule reports it.
func TestGoingOnWithTheEndOfAnotherSequenceIsAFallFromTheFirst(t *testing.T) {
	p := play(t, map[string]string{
		"a":     "sequence = [\"1/tcp\", \"2/tcp\", \"3/tcp\"]\nopen = [\"80/tcp\"]\n",
		"other": "sequence = [\"2/tcp\", \"4/tcp\", \"5/tcp\"]\nopen = [\"81/tcp\"]\n"})
	p.report("knock a 1", "1/tcp")
	p.report("knock a 2", "2/tcp")
	p.expect(p.report("knock other 2", "4/tcp"),
		"reset a 2/3: starts over: knock 3 was 4/tcp, not 3/tcp", "knock other 2/3: knock 2 of 3")
}

func TestALeasesEndIsTakenFromTheKernel(t *testing.T) {
	p := play(t, article())
	in := installed(t, article())
	held := backend.Source{Profile: "mysql", Address: netip.MustParsePrefix("10.9.0.1/32"), State: backend.Open, Left: time.Hour}
	p.report("grant mysql", "8000/tcp")
	p.pass(time.Minute)
	p.expect(p.story.sync(p.now, p.now, in, []backend.Source{held})) // renewed: an hour from here
	p.pass(59*time.Minute + 50*time.Second)
	if p.story.wantsRead(p.now) {
		t.Error("it wants a look before the renewed lease is over")
	}
	p.pass(11 * time.Second)
	if !p.story.wantsRead(p.now) {
		t.Error("it wants no look when the lease should be over")
	}
	p.expect(p.story.sync(p.now, p.now, in, nil), "expire mysql 3/3: the lease is over")
	p.expect(p.story.sync(p.now, p.now, in, nil))
	p.expect(p.report("denied mysql", "3306/tcp"), "denied mysql 0/3: no lease for 3306/tcp: its time is over")
}

func TestALeaseThatIsTakenAwayHasEndedEarlyAndOneThatWasFlushedHasNot(t *testing.T) {
	p := play(t, article())
	in := installed(t, article())
	p.report("grant mysql", "8000/tcp")
	began := p.now
	p.pass(time.Second)
	p.expect(p.story.sync(p.now, began, in, nil)) // the look began before the lease did
	p.expect(p.story.sync(p.now, p.now, backend.Installed{}, nil))
	drifted := in
	drifted.Drift = []string{"INPUT does not jump"}
	p.expect(p.story.sync(p.now, p.now, drifted, nil))
	p.expect(p.story.sync(p.now, p.now, in, nil), "expire mysql 3/3: the lease ended early")
}

// by is alice, who became root by sudo.
func by(a Act) told { return told{Act: a, By: By{0, "alice", "knockd " + string(a.Kind)}} }

func TestALeaseThatIsRevokedHasNotAlsoEndedWhateverAReadingSaysThatBeganBefore(t *testing.T) {
	p := play(t, article())
	in := installed(t, article())
	held := backend.Source{Profile: "mysql", Address: netip.MustParsePrefix("10.9.0.1/32"), State: backend.Open, Left: time.Hour}
	p.report("grant mysql", "8000/tcp")
	p.pass(time.Second)
	p.expect(p.story.sync(p.now, p.now, in, []backend.Source{held}))
	began := p.now
	p.pass(time.Second)
	if !p.story.endsEarly(p.now, Snapshot{p.now, &backend.Reading{Installed: in}}) {
		t.Error("a lease is missing, and nobody asks who may have revoked it")
	}
	revoked := by(Act{Kind: Revoke, Profile: "mysql", Address: held.Address, Steps: 3, Detail: "the lease is revoked"})
	n := p.story.act(p.now, revoked)
	p.expect([]Notice{n}, "revoke mysql 3/3: the lease is revoked")
	if n.String() != "10.9.0.1: mysql: the lease is revoked, by alice" {
		t.Error(n.String())
	}
	p.expect(p.story.sync(p.now, began, in, []backend.Source{held})) // it shows the lease, and is late
	if !p.story.wantsRead(p.now) {
		t.Error("it wants no other reading")
	}
	p.pass(time.Second)
	p.expect(p.story.sync(p.now, p.now, in, nil))
	p.expect(p.report("denied mysql", "3306/tcp"), "denied mysql 0/3: no lease for 3306/tcp: it was revoked")
}

func TestALeaseThatIsGivenByHandEndsWhenItsOwnTimeIsOver(t *testing.T) {
	p := play(t, article())
	in := installed(t, article())
	n := p.story.act(p.now, by(Act{Kind: Grant, Profile: "mysql", Address: netip.MustParsePrefix("10.9.0.1/32"), Steps: 3, Lease: time.Minute, Detail: "open for 1m"}))
	p.expect([]Notice{n}, "grant mysql 3/3: open for 1m")
	p.pass(time.Minute + time.Second)
	if !p.story.wantsRead(p.now) {
		t.Error("it does not want to know")
	}
	p.expect(p.story.sync(p.now, p.now, in, nil), "expire mysql 3/3: the lease is over")
}

func TestLeasesThatEndWithTheirProfile(t *testing.T) {
	holder := netip.MustParsePrefix("10.9.0.1/32")
	with := func(text string) map[string]string { return map[string]string{"mysql": text} }
	for _, c := range []struct {
		name    string
		removed bool // by hand
		will    map[string]string
		want    []string
	}{
		{"it opens more", false, with("sequence = [\"icmp\", \"7/tcp\", \"8000/tcp\"]\nopen = [\"3306/tcp\", \"22/tcp\"]\n"), []string{"expire mysql 3/3: the lease is over: the profile was changed"}},
		{"another sequence", false, with("sequence = [\"icmp\", \"8000/tcp\"]\nopen = [\"3306/tcp\"]\n"), nil},
		{"it is removed by hand, and that is told", true, map[string]string{"web": "sequence = [\"1/tcp\"]\nopen = [\"80/tcp\"]\n"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := play(t, article())
			p.report("grant mysql", "8000/tcp")
			p.pass(time.Second)
			if c.removed {
				p.story.act(p.now, by(Act{Kind: Remove, Profile: "mysql"}))
			}
			p.pass(time.Second)
			var sources []backend.Source
			if c.want == nil && !c.removed {
				sources = append(sources, backend.Source{Profile: "mysql", Address: holder, State: backend.Open, Left: time.Hour})
			}
			p.expect(p.story.sync(p.now, p.now, installed(t, c.will), sources), c.want...)
			p.pass(time.Second)
			p.expect(p.story.sync(p.now, p.now, installed(t, c.will), sources))
		})
	}
}

func TestALeaseOfAProfileThatIsNewToTheTrackerGoesOn(t *testing.T) {
	p := play(t, nil)
	holder := netip.MustParsePrefix("10.9.0.1/32")
	p.story.act(p.now, by(Act{Kind: Install, Profile: "mysql"}))
	p.story.act(p.now, by(Act{Kind: Grant, Profile: "mysql", Address: holder, Lease: time.Hour}))
	p.pass(time.Second)
	p.expect(p.story.sync(p.now, p.now, installed(t, article()), []backend.Source{{Profile: "mysql", Address: holder, State: backend.Open, Left: time.Hour}}))
	if p.story.leases.Len() != 1 {
		t.Error("it is forgotten")
	}
}

func TestOnlyRootIsBelievedWhatSudoSays(t *testing.T) {
	for _, c := range []struct {
		uid              int
		sudo, name, text string
	}{
		{0, "alice", "alice", "alice"},
		{0, "", "", "root"},
		{1000, "alice", "", "uid 1000"},
		{0, "eve\n12:00:00 bob", "eve 12:00:00 bob", "eve 12:00:00 bob"},
		{0, strings.Repeat("a", 100), strings.Repeat("a", longestName-1) + "…", strings.Repeat("a", longestName-1) + "…"},
	} {
		b := byOf(rights.Peer{PID: os.Getpid(), UID: c.uid}, c.sudo)
		if b.UID != c.uid || b.SudoUser != c.name || b.String() != c.text || !strings.HasPrefix(b.Command, "events.test") {
			t.Errorf("%+v of user %d: %+v, %q", c.sudo, c.uid, b, b.String())
		}
	}
}

func TestWithoutALookALeasesEndIsCounted(t *testing.T) {
	p := play(t, article())
	p.report("grant mysql", "8000/tcp")
	p.pass(time.Hour + 6*time.Second)
	p.expect(p.story.tick(p.now), "expire mysql 3/3: the lease is over")
}

func TestWhatIsNotInstalledIsToldAsFarAsItIsKnown(t *testing.T) {
	p := play(t, nil)
	p.expect(p.report("knock mysql 2", "7/tcp"), "knock mysql 2/0: knock 2")
	if !p.story.wantsRead(p.now) {
		t.Error("it does not want to know")
	}
	p.story.sync(p.now, p.now, installed(t, article()), nil)
	p.expect(p.report("knock mysql 3", "8000/tcp"), "knock mysql 3/3: knock 3 of 3")
}

func TestAPositionStaysWhenProfilesChange(t *testing.T) {
	p := play(t, article())
	p.report("knock mysql 2", "7/tcp")
	more := article()
	more["a"] = "sequence = [\"1/tcp\", \"2/tcp\"]\nopen = [\"80/tcp\"]\n"
	p.story.sync(p.now, p.now, installed(t, more), nil)
	p.expect(p.report("knock mysql 3", "8000/tcp"), "knock mysql 3/3: knock 3 of 3")
}

func TestAFloodOfSourcesIsForgottenNotRemembered(t *testing.T) {
	p := play(t, article())
	for i := range 3 * maxTrails {
		src := netip.AddrFrom4([4]byte{10, 9, byte(i >> 8), byte(i)})
		for _, e := range []backend.Report{backend.ReportKnock, backend.ReportGrant} {
			p.story.report(p.now, report{Event: e, Profile: "mysql", Step: 1, Packet: packet{Source: src, Kind: "icmp"}})
		}
	}
	if len(p.story.trails) > maxTrails || p.story.leases.Len() > maxLeases {
		t.Errorf("%d trails, %d leases", len(p.story.trails), p.story.leases.Len())
	}
	p.pass(2 * time.Hour)
	p.story.tick(p.now)
	p.pass(recall + time.Second)
	p.story.tick(p.now)
	if !p.story.idle() {
		t.Errorf("%d trails, %d leases are left", len(p.story.trails), p.story.leases.Len())
	}
}

// TestALeaseThatIsGivenBackIsToldOnce: at once, though the holder has two, and a reading comes later.
func TestALeaseThatIsGivenBackIsToldOnce(t *testing.T) {
	files := map[string]string{"mysql": article()["mysql"] + "close = \"9000/tcp\"\nonce = true\n"}
	p := play(t, files)
	for range 2 {
		p.report("grant mysql", "8000/tcp")
		p.pass(time.Second)
		told := p.report("close mysql", "9000/tcp")
		p.expect(told, "expire mysql 3/3: the lease ended early: given back")
		if !told[0].Closed {
			t.Error("it does not say that the holder has done it")
		}
		p.expect(p.report("close mysql", "9000/tcp")) // of the one by hand
		p.pass(time.Second)
		p.expect(p.story.sync(p.now, p.now, installed(t, files), nil))
		p.expect(p.report("denied mysql", "3306/tcp"), "denied mysql 0/3: no lease for 3306/tcp: given back")
	}
}
