package doctor

import (
	"slices"
	"testing"
	"time"

	"knockkit/internal/kernel/backend"
	"knockkit/protocol"
	"knockkit/protocol/format"
	"knockkit/server"
	"knockkit/server/keys"
)

// The clock of the machine is not a test's to change, so its finding follows from
// facts here, and conntrack's, which no namespace can be without.
func TestTheClockMattersToSignedProfiles(t *testing.T) {
	signed := &protocol.Profile{Name: "admin", Enabled: true, Signed: &protocol.Signed{}}
	plain := &protocol.Profile{Name: "mysql", Enabled: true}
	for _, c := range []struct {
		name    string
		clock   clockState
		profile *protocol.Profile
		want    Severity // "" for no finding
	}{
		{"synchronised", clockState{true, true}, signed, OK},
		{"not synchronised, and nothing is signed", clockState{true, false}, plain, Note},
		{"not synchronised", clockState{true, false}, signed, Warning},
		{"not known", clockState{}, signed, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := &facts{Clock: c.clock, Status: server.Status{Profiles: []server.ProfileStatus{{Profile: c.profile, State: server.StateInstalled}}}}
			found := clock(f)
			if c.want == "" && len(found) > 0 || c.want != "" && (len(found) != 1 || found[0].Severity != c.want) {
				t.Errorf("found %+v", found)
			}
		})
	}
}

func TestAKernelWithoutConntrackIsBrokenWhereSomethingIsInstalled(t *testing.T) {
	p := &protocol.Profile{Name: "mysql", Enabled: true}
	live := &facts{Status: server.Status{Profiles: []server.ProfileStatus{{Profile: p, State: server.StateInstalled}}}}
	if found := conntrack(live); len(found) != 1 || found[0].Severity != Broken {
		t.Errorf("installed: %+v", found)
	}
	clean := &facts{Status: server.Status{Profiles: []server.ProfileStatus{{Profile: p, State: server.StateNotInstalled}}}}
	if found := conntrack(clean); len(found) != 0 {
		t.Errorf("not installed, where the module comes with the first rule: %+v", found)
	}
}

func TestWhatCouldNotBeSeenIsSaid(t *testing.T) {
	found := unreadable(&facts{Unread: []unread{{"the rules of nftables", backend.ErrPrivilege}}})
	if len(found) != 1 || found[0].Severity != Warning || found[0].Todo != "run it as root: sudo knockd doctor" {
		t.Errorf("found %+v", found)
	}
}

func TestKeysOfSignedProfilesAreExamined(t *testing.T) {
	now := time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)
	admin := &protocol.Profile{Name: "admin", Enabled: true, Signed: &protocol.Signed{Carrier: protocol.Knock{Proto: protocol.ICMP}}}
	key := func(change func(*format.KeyFile)) keys.Entry {
		k := &format.KeyFile{Key: protocol.Key{Profile: "admin", User: "alice", Audience: "db1"}}
		change(k)
		return keys.Entry{File: "/etc/knockd/keys/admin/alice.key", KeyFile: k}
	}
	plain := key(func(*format.KeyFile) {})
	id := plain.ID()
	type finding struct {
		severity    Severity
		found, todo string
	}
	good, none := finding{OK, "keys of profile admin that can be used: 1", ""}, finding{Broken, "profile admin is signed, and it has no key that can be used", "knockd key add USER admin"}
	for _, c := range []struct {
		name string
		keys []keys.Entry
		want []finding
	}{
		{"one that can be used", []keys.Entry{plain}, []finding{good}},
		{"none", nil, []finding{none}},
		{"of another profile", []keys.Entry{key(func(k *format.KeyFile) { k.Profile = "web" })}, []finding{none}},
		{"disabled", []keys.Entry{key(func(k *format.KeyFile) { k.Disabled = true })}, []finding{none}},
		{"expired", []keys.Entry{key(func(k *format.KeyFile) { k.Expires = now })}, []finding{none}},
		{"for another audience", []keys.Entry{key(func(k *format.KeyFile) { k.Audience = "db2" })}, []finding{
			{Warning, `the key ` + id + ` of alice for profile admin is for the audience "db2", and this server is "db1"`,
				`set audience = "db2" in knockd.toml if that is this server's name, else knockd key add alice admin`}, good}},
		{"with an end a week ahead", []keys.Entry{key(func(k *format.KeyFile) { k.Expires = now.Add(7 * 24 * time.Hour) })}, []finding{
			{Warning, "the key " + id + " of alice for profile admin expires on 2026-12-08 12:00 UTC", "knockd key add alice admin"}, good}},
		{"with an end later than that", []keys.Entry{key(func(k *format.KeyFile) { k.Expires = now.Add(7*24*time.Hour + 1) })}, []finding{good}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := &facts{Keys: c.keys, audience: "db1", now: now, Status: server.Status{Profiles: []server.ProfileStatus{{Profile: admin, State: server.StateInstalled}}}}
			var got []finding
			for _, x := range keysOfProfiles(f) {
				if got = append(got, finding{x.Severity, x.Found, x.Todo}); x.Severity != OK && x.Why == "" {
					t.Errorf("%q does not say why", x.Found)
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("found %+v\nwant %+v", got, c.want)
			}
		})
	}
}

func TestAKeyForAnotherAudienceThanTheFleetsNameIsMadeAnew(t *testing.T) {
	k := keys.Entry{KeyFile: &format.KeyFile{Key: protocol.Key{Profile: "admin", User: "alice", Audience: "db1"}}}
	f := &facts{audience: "web"}
	f.Settings.Fleet = &server.Fleet{Name: "web"}
	all := f.key(k)
	if len(all) != 1 || all[0].Todo != "the fleet's name is the audience of its servers: knockd key add alice admin" {
		t.Errorf("found %+v", all)
	}
}
