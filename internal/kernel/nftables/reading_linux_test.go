package nftables

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"knockkit/internal/kernel/backend"
	"knockkit/protocol"
)

// TestAReadingHoldsWhatItsDepthAsksFor.
func TestAReadingHoldsWhatItsDepthAsksFor(t *testing.T) {
	s := newSite(t)
	if r := s.read(everything); len(r.Profiles)+len(r.Sources)+len(r.Drift)+r.Positions > 0 || r.Unread != nil || s.live() {
		t.Errorf("nothing is installed, and the reading is %+v", r)
	}
	s.install(mysql(t, ""), profile(t, "web", "sequence = [\"7001/tcp\", \"8001/tcp\"]\nopen = [\"80/tcp\"]\nprefix = { ipv4 = 24, ipv6 = 64 }"))
	s.grant("mysql", "192.0.2.1", 0)
	s.grant("mysql", "192.0.2.2", 5*time.Minute)
	s.grant("web", "198.51.100.0/24", 0)
	s.grant("web", "2001:db8::/48", time.Hour)
	s.nft("add element inet knockd banned4 { 10.0.0.1 timeout 1h }\nadd element inet knockd fall4.1 { 10.0.0.2 timeout 1h }\nadd element inet knockd fall4.2 { 10.0.0.2 timeout 50m }")
	for i := range 5 { // the last one is the newest
		s.nft(fmt.Sprintf("add element inet knockd position4 { 10.1.0.%d timeout 1h expires %dm : 0:1 }", i, 50+i))
	}
	for _, c := range []struct {
		name                          string
		depth                         backend.Depth
		open, banned, fallen, knocked string
		n, fill                       int
	}{
		{"the record", backend.Depth{}, "", "", "", "", 5, 0},
		{"all", everything, "mysql 192.0.2.1, mysql 192.0.2.2, web 198.51.100.0/24, web 2001:db8::/48", "10.0.0.1", "10.0.0.2",
			"mysql 10.1.0.0, mysql 10.1.0.1, mysql 10.1.0.2, mysql 10.1.0.3, mysql 10.1.0.4", 5, 8},
		{"of one profile", backend.Depth{Leases: true, Profile: "web"}, "web 198.51.100.0/24, web 2001:db8::/48", "10.0.0.1", "10.0.0.2", "", 5, 0},
		{"of one family", backend.Depth{Leases: true, Profile: "web", Family: protocol.IPv6}, "web 2001:db8::/48", "", "", "", 0, 0},
		{"the newest positions", backend.Depth{Positions: 2}, "", "", "", "mysql 10.1.0.3, mysql 10.1.0.4", 5, 0},
	} {
		r := s.read(c.depth)
		for state, want := range map[backend.SourceState]string{backend.Open: c.open, backend.Banned: c.banned, backend.Fallen: c.fallen, backend.Knocking: c.knocked} {
			if got := holdersOf(r, state); got != want {
				t.Errorf("%s: %s: %s, want %s", c.name, state, got, want)
			}
		}
		if len(r.Profiles) != 2 || len(r.Fill) != c.fill || r.Positions != c.n && r.Positions != -1 {
			t.Errorf("%s: %d profiles, fill %v, %d positions", c.name, len(r.Profiles), r.Fill, r.Positions)
		}
	}
}

// TestAChangeEndsWhatItNames: the lease of that holder wherever it is, and falls with a ban.
func TestAChangeEndsWhatItNames(t *testing.T) {
	s := newSite(t)
	s.install(mysql(t, ""))
	s.grant("mysql", "192.0.2.0/24", time.Minute)
	s.grant("mysql", "192.0.2.1", time.Minute)
	s.nft("add element inet knockd open4-mysql { 192.0.2.1 timeout 1h, 192.0.2.2 timeout 1h }\nadd element inet knockd banned4 { 10.0.0.1 timeout 1h }\n" +
		"add element inet knockd fall4.1 { 10.0.0.1 timeout 1h, 10.0.0.2 timeout 1h }\nadd element inet knockd fall4.2 { 10.0.0.2 timeout 1h }")
	r := s.read(backend.Depth{Leases: true})
	var end []backend.Source
	for _, x := range r.Sources {
		if x.State == backend.Fallen || x.State == backend.Banned || holder(x) == "192.0.2.1" {
			end = append(end, x)
		}
	}
	s.commit(r.Change(nil, end))
	if r := s.read(everything); holdersOf(r, backend.Open) != "mysql 192.0.2.0/24, mysql 192.0.2.2" || len(r.Sources) != 2 {
		t.Errorf("what is left: %+v", r.Sources)
	}
	s.commit(r.Change(nil, end)) // what is not there any more is no error
}

// TestAGrantLeavesDriftElsewhereToBeSeen, though it changes rules and seals them.
func TestAGrantLeavesDriftElsewhereToBeSeen(t *testing.T) {
	s := newSite(t)
	s.install(mysql(t, ""))
	s.nft("delete element inet knockd gates { tcp . 3306 }\nadd element inet knockd gates { tcp . 3306 : goto open-mysql }")
	s.grant("mysql", "192.0.2.0/24", time.Minute)
	if drift := s.read(everything).Drift; len(drift) != 1 || !strings.HasPrefix(drift[0], "map gates is not as") {
		t.Errorf("drift %q", drift)
	}
	if !strings.Contains(s.rulesOf("gate-tcp-3306"), "@given4-mysql.24") {
		t.Error("the gate does not ask for the lease")
	}
}

// TestRulesOfAnotherVersionAreDrift: what the kernel has is what was committed, and this version
// would have written something else.
func TestRulesOfAnotherVersionAreDrift(t *testing.T) {
	s := newSite(t)
	s.install(mysql(t, ""))
	r := s.read(everything).Planner.(*reading)
	rules := r.known
	rules.byName()["chain open-mysql"].rules[0].text = "log accept"
	drift, known := r.table.drift(rules, parseSeal(r.table, rules))
	if len(drift) != 1 || drift[0] != "chain open-mysql is not as this version of knockd has committed it" || known["chain open-mysql"] != "" || known["chain gate"] == "" {
		t.Errorf("drift %q, known %v", drift, known)
	}
}

// TestNoNumberOfAPositionIsUsedAgainWhenTheRecordIsLost: a source in a position would be in another.
func TestNoNumberOfAPositionIsUsedAgainWhenTheRecordIsLost(t *testing.T) {
	s := newSite(t)
	s.install(mysql(t, ""))
	s.nft("add element inet knockd position6 { 2001:db8::1 timeout 1h : 1:4 }")
	for _, spoil := range []string{"flush chain inet knockd about", "add rule inet knockd about continue comment \"profile 1/2 x\""} {
		s.nft(spoil)
		s.install(mysql(t, ""))
		if rules := s.rulesOf("stay-mysql.1"); !strings.Contains(rules, "timeout 10s : 1:") {
			t.Errorf("after %q:\n%s", spoil, rules)
		}
		if r := s.read(everything); len(r.Drift) > 0 || r.Positions != 1 || holdersOf(r, backend.Knocking) != "" {
			t.Errorf("after %q: drift %q, positions of %s", spoil, r.Drift, holdersOf(r, backend.Knocking))
		}
	}
}

// TestWhatWasSavedIsPutBack: profiles, and leases that have ended by the change; also where it was
// written once more, since somebody else changed rules in the same moment.
func TestWhatWasSavedIsPutBack(t *testing.T) {
	s := newSite(t)
	web := profile(t, "web", "sequence = [\"7001/tcp\", \"8001/tcp\"]\nopen = [\"80/tcp\"]\nlease = \"10m\"")
	s.install(mysql(t, ""), web)
	s.grant("mysql", "192.0.2.1", 0)
	s.grant("mysql", "192.0.2.0/24", 30*time.Minute)
	s.grant("web", "192.0.2.2", 0)
	s.nft("add element inet knockd position4 { 10.0.0.1 timeout 1h : 0:1 }")
	saved, err := s.read(everything).Save()
	if err != nil {
		t.Fatal(err)
	}
	trial := compiled(t, mysql(t, "lease = \"1m\""))
	trial.Trial = true
	first, err := s.plan(trial)
	s.commit(first, err)
	s.commit(first.(*plan).again(s.read(everything).Planner.(*reading)))
	s.grant("mysql", "192.0.2.3", 0)
	s.commit(s.read(everything).PutBack(saved, nil))
	r := s.read(everything)
	if got, want := holdersOf(r, backend.Open), "mysql 192.0.2.0/24, mysql 192.0.2.1, web 192.0.2.2, mysql 192.0.2.3"; got != want {
		t.Errorf("holders %s, want %s", got, want)
	}
	for _, x := range r.Sources {
		if least := map[string]time.Duration{"192.0.2.1": 50 * time.Minute, "192.0.2.2": 9 * time.Minute, "192.0.2.0/24": 29 * time.Minute}[holder(x)]; x.Left < least {
			t.Errorf("%s has %s left", holder(x), x.Left)
		}
	}
	if len(r.Drift) > 0 || len(r.Profiles) != 2 || holdersOf(r, backend.Knocking) != "mysql 10.0.0.1" {
		t.Errorf("drift %q, %d profiles, knocking %s", r.Drift, len(r.Profiles), holdersOf(r, backend.Knocking))
	}
	s.install()
	nothing, err := s.read(everything).Save()
	if err != nil {
		t.Fatal(err)
	}
	s.install(web)
	s.commit(s.read(everything).PutBack(nothing, nil))
	if s.live() {
		t.Error("nothing was installed, and something is")
	}
}

// TestLeasesOfABackendThatIsLeftComeAlong, and of whom has two the longer stays.
func TestACommitKeepsLeasesAndGivesCarriedOnes(t *testing.T) {
	s := newSite(t)
	s.install(mysql(t, ""))
	s.grant("mysql", "192.0.2.1", 0)
	want := compiled(t, mysql(t, "lease = \"30m\""))
	want.Carried = []backend.Source{
		{Profile: "mysql", Address: prefix("192.0.2.2"), State: backend.Open, Left: 10 * time.Minute},
		{Profile: "mysql", Address: prefix("192.0.2.3"), State: backend.Open, Left: 2 * time.Hour},
		{Profile: "mysql", Address: prefix("198.51.100.0/24"), State: backend.Open, Unlimited: true},
	}
	s.commit(s.plan(want))
	r := s.read(everything)
	if got := holdersOf(r, backend.Open); got != "mysql 192.0.2.1, mysql 192.0.2.2, mysql 192.0.2.3, mysql 198.51.100.0/24" {
		t.Errorf("holders %s", got)
	}
	for _, x := range r.Sources {
		if most := map[string]time.Duration{"192.0.2.1": 30 * time.Minute, "192.0.2.2": 10 * time.Minute, "192.0.2.3": 2 * time.Hour}[holder(x)]; x.Left > most || x.Left < most-time.Minute {
			t.Errorf("%s has %s left", holder(x), x.Left)
		}
	}
}
