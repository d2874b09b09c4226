package events

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"knockkit/internal/kernel/backend"
)

func signedProfile() map[string]string {
	return map[string]string{"admin": "signed = { carrier = \"icmp\" }\nopen = [\"2222/tcp\"]\nlease = \"1h\"\n"}
}

// opened is who has opened leases by a reading, by holder.
type opened struct {
	backend.Planner // of which nothing is used
	by              map[string][]backend.Opening
}

func (o opened) Openings(_ string, holder netip.Prefix) []backend.Opening {
	return o.by[holder.String()]
}

// openedBy returns openings of "alice 10ms", the last one first; "alice" without a time is undated.
func openedBy(t *testing.T, texts ...string) (all []backend.Opening) {
	t.Helper()
	for _, text := range texts {
		user, ago, dated := strings.Cut(text, " ")
		o := backend.Opening{User: user, Key: "key of " + user, Undated: !dated}
		if dated {
			var err error
			if o.Ago, err = time.ParseDuration(ago); err != nil {
				t.Fatal(err)
			}
		}
		all = append(all, o)
	}
	return all
}

// grants returns the users of n grants that came together, by a reading of 10 ms that begins now.
func (p *played) grants(n int, openings ...string) (users []string) {
	p.t.Helper()
	var reports []report
	for range n {
		reports = append(reports, report{Event: backend.ReportGrant, Profile: "admin", Packet: packet{Source: netip.MustParseAddr("10.9.0.1"), Kind: "icmp"}})
	}
	by := Snapshot{p.now, &backend.Reading{Planner: opened{by: map[string][]backend.Opening{"10.9.0.1/32": openedBy(p.t, openings...)}}}}
	p.story.name(reports, by, p.now.Up+10*time.Millisecond)
	for _, r := range reports {
		for _, e := range p.story.report(p.now, r) {
			if users = append(users, e.User); (e.User == "") != (e.Key == "") || e.Key != "" && e.Key != "key of "+e.User {
				p.t.Errorf("the key of %q is %q", e.User, e.Key)
			}
		}
	}
	return users
}

// TestGrantsNameTheirUsersWhereThatIsCertain: and nobody otherwise. Each case is batches of reports of one
// address, and the readings that follow them.
func TestGrantsNameTheirUsersWhereThatIsCertain(t *testing.T) {
	type batch struct {
		after    time.Duration // the one before
		n        int
		openings []string
		users    []string
	}
	const second = time.Second
	for _, c := range []struct {
		name    string
		batches []batch
	}{
		{"one user", []batch{{0, 1, []string{"alice 5ms"}, []string{"alice"}}}},
		{"one user twice", []batch{{0, 2, []string{"alice 5ms"}, []string{"alice", "alice"}}}},
		{"one user with two keys", []batch{{0, 2, []string{"alice 5ms", "alice 30ms"}, []string{"alice", "alice"}}}},
		{"an older lease of another user", []batch{{0, 1, []string{"alice 5ms", "bob 20m"}, []string{"alice"}}}},
		{"two users, in their order", []batch{{0, 2, []string{"bob 5ms", "alice 60ms"}, []string{"alice", "bob"}}}},
		{"two users, in two batches", []batch{
			{0, 1, []string{"alice 5ms"}, []string{"alice"}},
			{second / 2, 1, []string{"bob 5ms", "alice 505ms"}, []string{"bob"}},
		}},
		{"a knock between the batch and its reading", []batch{
			{0, 1, []string{"bob 5ms", "alice 60ms"}, []string{"alice"}},
			{second / 10, 1, []string{"bob 105ms", "alice 160ms"}, []string{"bob"}},
		}},
		{"of two users who have knocked a moment ago, one does again", []batch{
			{0, 2, []string{"bob 5ms", "alice 60ms"}, []string{"alice", "bob"}},
			{second, 1, []string{"alice 5ms", "bob 1005ms"}, []string{"alice"}},
		}},
		{"two users in the same moment", []batch{{0, 2, []string{"alice 10ms", "bob 15ms"}, []string{"", ""}}}},
		{"three grants, and two users who may have knocked", []batch{{0, 3, []string{"bob 5ms", "alice 60ms"}, []string{"", "", ""}}}},
		{"and afterwards the next one is certain", []batch{
			{0, 3, []string{"bob 5ms", "alice 60ms"}, []string{"", "", ""}},
			{second, 1, []string{"bob 5ms", "alice 1060ms"}, []string{"bob"}},
		}},
		{"the kernel had no room for who it was", []batch{{0, 1, []string{"bob 20m"}, []string{""}}}},
		{"the lease was revoked meanwhile", []batch{{0, 1, nil, []string{""}}}},
		{"no time is known, and one user", []batch{{0, 2, []string{"alice"}, []string{"alice", "alice"}}}},
		{"no time is known, and two users", []batch{{0, 1, []string{"alice", "bob"}, []string{""}}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := play(t, signedProfile())
			p.pass(time.Minute)
			for _, b := range c.batches {
				p.pass(b.after)
				if diff := cmp.Diff(b.users, p.grants(b.n, b.openings...)); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}

// TestWithoutTimesANewUserOfALeaseIsNamed: who had opened it before is known by a reading.
func TestWithoutTimesANewUserOfALeaseIsNamed(t *testing.T) {
	p := play(t, signedProfile())
	lease := backend.Source{Profile: "admin", Address: netip.MustParsePrefix("10.9.0.1/32"), State: backend.Open, Unlimited: true, Users: []backend.User{{Name: "alice", Unlimited: true}}}
	p.pass(time.Minute)
	p.story.sync(p.now, p.now, installed(t, signedProfile()), []backend.Source{lease})
	p.pass(time.Minute)
	if users := p.grants(1, "alice", "bob"); !slices.Equal(users, []string{"bob"}) {
		t.Errorf("%q", users)
	}
}

// TestAGrantWhoseReportMayHaveBeenLostNamesNobodyElse: nobody has seen what came before the listener began,
// and what did not fit.
func TestAGrantWhoseReportMayHaveBeenLostNamesNobodyElse(t *testing.T) {
	p := play(t, signedProfile())
	p.pass(time.Minute)
	p.story.watched = p.now.Up
	p.pass(time.Second)
	if users := p.grants(1, "bob 5ms", "alice 1100ms"); !slices.Equal(users, []string{""}) {
		t.Errorf("%q", users)
	}
}

func TestOfEachHolderTheGrantsAreItsOwn(t *testing.T) {
	p := play(t, map[string]string{"admin": signedProfile()["admin"] + "prefix = { ipv4 = 24 }\n", "web": "sequence = [\"1/tcp\", \"2/tcp\"]\nopen = [\"80/tcp\"]\n"})
	p.pass(time.Minute)
	from := func(profile, source string) report {
		return report{Event: backend.ReportGrant, Profile: profile, Packet: packet{Source: netip.MustParseAddr(source)}}
	}
	reports := []report{from("admin", "10.9.1.7"), from("web", "10.9.1.7"), from("admin", "10.9.2.7"), from("admin", "10.9.1.8"), from("gone", "10.9.1.7"), from("admin", "2001:db8::1")}
	by := map[string][]backend.Opening{"10.9.1.0/24": openedBy(t, "bob 5ms", "alice 60ms"), "10.9.2.0/24": openedBy(t, "carol 30ms"), "2001:db8::1/128": openedBy(t, "dave 30ms")}
	p.story.name(reports, Snapshot{p.now, &backend.Reading{Planner: opened{by: by}}}, p.now.Up)
	var users []string
	for _, r := range reports {
		users = append(users, r.User.Name)
	}
	if diff := cmp.Diff([]string{"alice", "", "carol", "bob", "", "dave"}, users); diff != "" {
		t.Error(diff)
	}
}

// TestWhoComesToASignedGateIsToldWhatItTakes: no step of a sequence.
func TestWhoComesToASignedGateIsToldWhatItTakes(t *testing.T) {
	const no = "denied admin 0/0: no lease for 2222/tcp: "
	p := play(t, signedProfile())
	p.expect(p.report("denied admin", "2222/tcp"), no+"no signed knock was seen")
	p.expect(p.report("grant admin", "icmp"), "grant admin 0/0: open for 1h")
	p.story.act(p.now, by(Act{Kind: Revoke, Profile: "admin", Address: netip.MustParsePrefix("10.9.0.1/32")}))
	p.expect(p.report("denied admin", "2222/tcp"), no+"it was revoked")
	p.expect(p.report("grant admin", "icmp"), "grant admin 0/0: open for 1h")
	p.pass(time.Hour + time.Minute)
	p.expect(p.story.tick(p.now), "expire admin 0/0: the lease is over")
	p.expect(p.report("denied admin", "2222/tcp"), no+"its time is over")
}

// TestTheEndOfALeaseNamesItsUsers: as far as a reading has shown them; and a revocation of one names this
// one.
func TestTheEndOfALeaseNamesItsUsers(t *testing.T) {
	holder := netip.MustParsePrefix("10.9.0.1/32")
	lease := backend.Source{Profile: "admin", Address: holder, State: backend.Open, Left: time.Hour, Users: []backend.User{{Name: "bob", Left: time.Hour}, {Name: "alice", Left: time.Minute}}}
	revoke := Act{Kind: Revoke, Profile: "admin", Address: holder, Detail: "the lease is revoked"}
	of := revoke
	of.User = "alice"
	changed := map[string]string{"admin": strings.Replace(signedProfile()["admin"], "2222", "2223", 1)}
	for _, c := range []struct {
		how  string
		ends func(p *played) []Notice
		want string
	}{
		{"revoked", func(p *played) []Notice { return []Notice{p.story.act(p.now, told{Act: revoke})} }, "10.9.0.1: admin: bob, alice: the lease is revoked, by root"},
		{"revoked of one", func(p *played) []Notice { return []Notice{p.story.act(p.now, told{Act: of})} }, "10.9.0.1: admin: alice: the lease is revoked, by root"},
		{"gone", func(p *played) []Notice {
			return p.story.sync(p.now, p.now, installed(t, signedProfile()), nil)
		}, "10.9.0.1: admin: bob, alice: the lease ended early"},
		{"its profile is another", func(p *played) []Notice { return p.story.sync(p.now, p.now, installed(t, changed), nil) }, "10.9.0.1: admin: bob, alice: the lease is over: the profile was changed"},
		{"over", func(p *played) []Notice { p.pass(2 * time.Hour); return p.story.tick(p.now) }, "10.9.0.1: admin: bob, alice: the lease is over"},
	} {
		t.Run(c.how, func(t *testing.T) {
			p := play(t, signedProfile())
			p.pass(time.Minute)
			p.story.sync(p.now, p.now, installed(t, signedProfile()), []backend.Source{lease})
			p.pass(time.Second)
			var lines []string
			for _, e := range c.ends(p) {
				lines = append(lines, e.String())
			}
			if diff := cmp.Diff([]string{c.want}, lines); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestLinesOfOtherVersionsAreUnderstood: an older one writes no users, a newer one what we do not know.
func TestLinesOfOtherVersionsAreUnderstood(t *testing.T) {
	for line, want := range map[string]Notice{
		`{"time":"2030-01-02T03:04:05Z","event":"grant","profile":"admin","address":"10.9.0.1","step":0,"steps":0,"detail":"open"}`:                                                     {Kind: Grant},
		`{"time":"2030-01-02T03:04:05Z","event":"grant","profile":"admin","address":"10.9.0.1","step":0,"steps":0,"detail":"open","user":"alice","key":"0a","later":{"what":["ever"]}}`: {Kind: Grant, User: "alice", Key: "0a"},
	} {
		want.Time, want.Profile, want.Address, want.Detail = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC), "admin", "10.9.0.1", "open"
		var i Item
		if err := json.Unmarshal([]byte(line), &i); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(Item{Notice: want}, i); diff != "" {
			t.Error(diff)
		}
	}
	line, err := json.Marshal(Item{Notice: Notice{Kind: Knock, Profile: "mysql"}})
	if err != nil || strings.Contains(string(line), "user") {
		t.Errorf("a notice without a user is %s, %v", line, err)
	}
	var a Act
	if err := json.Unmarshal([]byte(`{"event":"revoke","profile":"admin","address":"10.9.0.1/32","later":1}`), &a); err != nil || a.User != "" || a.Profile != "admin" {
		t.Errorf("%+v, %v", a, err)
	}
}
