package service

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"knockkit/internal/kernel/backend"
	"knockkit/protocol"
	"knockkit/protocol/format"
	"knockkit/server"
	"knockkit/server/events"
	"knockkit/server/keys"
)

// asked is a host that writes down how its tokens are refreshed, and answers as the test says.
type asked struct {
	Host
	refreshes []server.KeyRefresh
	forgets   int
	state     server.KeyState
	record    int64 // slot that a refresh records; 0: none
	err       error
}

func (a *asked) RefreshKeys(_ context.Context, r server.KeyRefresh) (server.KeyState, error) {
	a.refreshes = append(a.refreshes, r)
	if a.record > 0 {
		if err := r.Record(a.record); err != nil {
			return server.KeyState{}, err
		}
	}
	return a.state, a.err
}

func (a *asked) ForgetUsers(context.Context) error { a.forgets++; return nil }

// disk is a store of keys that the test looks into.
type disk struct {
	highest int64
	used    []map[string]keys.Use // of each time
	err     error                 // of writing
	unread  error
}

func (d *disk) Highest() (int64, error) { return d.highest, d.unread }
func (d *disk) Record(slot int64) error {
	if d.err == nil {
		d.highest = slot
	}
	return d.err
}
func (d *disk) Used(last map[string]keys.Use) error {
	if d.err == nil {
		d.used = append(d.used, last)
	}
	return d.err
}

// ring is a keyring whose clock and files the test sets.
type ring struct {
	*keyring
	t     *testing.T
	now   events.Moment
	files []keys.Entry
	wrong []error // files that cannot be used
	read  int     // how often the files were read
	host  *asked
	disk  *disk
	log   bytes.Buffer
}

// slotBegins is the beginning of a slot.
var slotBegins = protocol.SlotStart(60_000_000)

// newRing has a signed profile installed, and its first refresh behind it.
func newRing(t *testing.T, all ...*format.KeyFile) *ring {
	r := &ring{t: t, now: events.Moment{Wall: slotBegins.Add(10 * time.Second), Up: time.Hour}, disk: &disk{}}
	for _, k := range all {
		r.files = append(r.files, keys.Entry{KeyFile: k})
	}
	r.host = &asked{state: server.KeyState{Signed: []string{"admin"}}}
	r.keyring = newKeyring(Config{
		Keys:  func() ([]keys.Entry, []error, error) { r.read++; return r.files, r.wrong, nil },
		State: r.disk,
		Log:   slog.New(slog.NewTextHandler(&r.log, nil)),
	}, func() events.Moment { return r.now }, func() {})
	r.keyring.installed(r.host, []*protocol.Profile{signed("admin")})
	r.wake(true)
	r.passes(0)
	return r
}

func signed(name string) *protocol.Profile {
	p := mysql()
	p.Name, p.Sequence, p.Signed = name, nil, &protocol.Signed{Carrier: protocol.Knock{Proto: protocol.ICMP}}
	return p
}

func keyOf(user string) *format.KeyFile {
	k := &format.KeyFile{Key: protocol.Key{Profile: "admin", User: user, Audience: "db1"}}
	copy(k.Secret[:], user)
	return k
}

// passes lets time pass, in which the task ticks as often as it wants to, and returns the refreshes.
func (r *ring) passes(d time.Duration) []server.KeyRefresh {
	r.host.refreshes = nil
	end := r.now.Up + d
	for {
		wait := r.tick(r.t.Context(), r.host)
		if r.now.Up+wait > end {
			wait = end - r.now.Up
		}
		r.now.Wall, r.now.Up = r.now.Wall.Add(wait), r.now.Up+wait
		if r.now.Up == end {
			break
		}
	}
	r.tick(r.t.Context(), r.host)
	return r.host.refreshes
}

// users are whose keys a refresh has.
func users(of []protocol.Key) string {
	var all []string
	for _, k := range of {
		all = append(all, k.User)
	}
	return strings.Join(all, " ")
}

func TestTokensAreRefreshedAtTheBeginningOfEachSlotAndFilesAreNotReadForThat(t *testing.T) {
	r := newRing(t, keyOf("alice"))
	got := r.passes(time.Minute)
	if len(got) != 2 || !got[0].Now.Equal(slotBegins.Add(protocol.SlotTime)) || !got[1].Now.Equal(slotBegins.Add(2*protocol.SlotTime)) {
		t.Errorf("in a minute: %v", got)
	}
	if r.read != 1 || r.host.forgets != 3 { // of users in each slot, and at the start
		t.Errorf("the files were read %d times, users of old leases forgotten %d times", r.read, r.host.forgets)
	}
}

func TestKeysThatAreDisabledOrExpireOpenNothing(t *testing.T) {
	bob, carol, dave := keyOf("bob"), keyOf("carol"), keyOf("dave")
	bob.Disabled = true
	carol.Expires = slotBegins.Add(15 * time.Second)
	dave.Expires = slotBegins
	r := newRing(t, keyOf("alice"), bob, carol, dave)
	if got := users(r.loaded); got != "alice carol" {
		t.Errorf("tokens are loaded for %q", got)
	}
	got := r.passes(6 * time.Second)
	if len(got) != 1 || !got[0].Now.Equal(carol.Expires) || users(got[0].Keys) != "alice" || users(got[0].Gone) != "carol" {
		t.Errorf("when a key expires: %+v", got)
	}
	bob.Disabled = false
	r.wake(true)
	if got := r.passes(checkGap); len(got) != 1 || users(got[0].Keys) != "alice bob" || len(got[0].Gone) > 0 {
		t.Errorf("when files change: %+v", got)
	}
}

func TestOthersWhoChangeRulesAllTheTimeCauseARefreshASecond(t *testing.T) {
	r := newRing(t, keyOf("alice"))
	refreshes := 0
	for range 50 {
		r.wake(false)
		refreshes += len(r.passes(100 * time.Millisecond))
	}
	if refreshes < 4 || refreshes > 6 || r.read != 1 {
		t.Errorf("in five seconds there were %d refreshes, and %d readings of files", refreshes, r.read)
	}
}

func TestAJumpOfTheClockByASlotMakesWhatTheKernelHasWorthless(t *testing.T) {
	for _, c := range []struct {
		by    time.Duration
		again int // refreshes
		clear bool
	}{{time.Second, 0, false}, {-5 * time.Second, 1, false}, {protocol.SlotTime, 1, true}, {-protocol.SlotTime, 1, true}, {-time.Hour, 1, true}, {24 * time.Hour, 1, true}} {
		t.Run(c.by.String(), func(t *testing.T) {
			r := newRing(t, keyOf("alice"))
			r.host.err = errors.New("not now")
			r.now.Wall = r.now.Wall.Add(c.by)
			got := r.passes(time.Second)
			if len(got) != c.again || c.again > 0 && got[0].Clear != c.clear {
				t.Fatalf("%d refreshes: %+v", len(got), got)
			}
			if c.again == 0 {
				return
			}
			r.host.err = nil
			if got = r.passes(checkRetry); len(got) == 0 || got[0].Clear != c.clear {
				t.Errorf("after a refresh that has failed: %+v", got)
			}
			if got = r.passes(protocol.SlotTime); len(got) == 0 || got[0].Clear {
				t.Errorf("after one that has not: %+v", got)
			}
		})
	}
}

func TestAStateThatCannotBeWrittenIsSaidOnceAndTriedAgain(t *testing.T) {
	r := newRing(t, keyOf("alice"))
	r.host.record, r.disk.err = 7, errors.New("read-only file system")
	got := r.passes(time.Minute)
	if len(got) < 10 {
		t.Errorf("in a minute it is tried %d times", len(got))
	}
	if said := r.log.String(); strings.Count(said, "level=ERROR") != 1 || !strings.Contains(said, "read-only file system") || !strings.Contains(said, "docs/service-unit.md") {
		t.Errorf("it says\n%s", said)
	}
	if !strings.Contains(r.summary(), "read-only file system") {
		t.Errorf("systemctl status says %q", r.summary())
	}
	r.disk.err = nil
	r.passes(checkRetry)
	if got := r.passes(protocol.SlotTime); got[0].Highest != 7 || r.summary() != "" {
		t.Errorf("after that it goes on from slot %d, and systemctl status says %q", got[0].Highest, r.summary())
	}
}

func TestWhileSignedProfilesAreShutItIsSaidUntilWhenAndWhy(t *testing.T) {
	r := newRing(t, keyOf("alice"))
	opens := slotBegins.Add(2 * protocol.SlotTime)
	r.host.state.Opens, r.host.state.Why = opens, server.ShutUnknown
	r.wake(false)
	r.passes(time.Second)
	said := r.log.String()
	if strings.Count(said, "signed profiles are shut") != 1 || !strings.Contains(said, string(server.ShutUnknown)) || strings.Contains(said, "set the clock") {
		t.Errorf("it says\n%s", said)
	}
	if !strings.Contains(r.summary(), opens.Local().Format("15:04:05")) {
		t.Errorf("systemctl status says %q", r.summary())
	}
	r.passes(opens.Sub(r.now.Wall))
	if said = r.log.String(); strings.Count(said, "signed profiles are shut") != 1 || strings.Count(said, "opened again") != 1 || r.summary() != "" {
		t.Errorf("systemctl status says %q, and the log\n%s", r.summary(), said)
	}
}

func TestAClockBehindTheLoadedSlotsIsToldFromALostRecord(t *testing.T) {
	r := newRing(t, keyOf("alice"))
	r.host.state.Opens, r.host.state.Why = slotBegins.AddDate(1, 0, 0), server.ShutClock
	r.wake(false)
	r.passes(time.Second)
	if said := r.log.String(); !strings.Contains(said, string(server.ShutClock)) || !strings.Contains(said, "new keys") {
		t.Errorf("it says\n%s", said)
	}
}

func TestNoSecretGetsIntoTheLog(t *testing.T) {
	key := keyOf("alice")
	r := newRing(t, key)
	r.host.state.Added = []backend.LoadedKey{{Profile: "admin", User: "alice", ID: key.ID()}}
	for i := range maxKeyLines + 1 {
		r.host.state.Ended = append(r.host.state.Ended, backend.LoadedKey{Profile: "admin", User: fmt.Sprint(i)})
	}
	r.wrong = []error{errors.New("mallory.key: wrong")}
	r.wake(true)
	r.passes(time.Second)
	r.wake(true)
	r.passes(time.Second)
	said := r.log.String()
	if !strings.Contains(said, "profile=admin user=alice id="+key.ID()) || strings.Count(said, "mallory.key") != 1 || strings.Contains(said, format.KeyText(key.Secret)) {
		t.Errorf("it says\n%s", said)
	}
	if !strings.Contains(said, fmt.Sprintf("keys=%d", maxKeyLines+1)) {
		t.Errorf("many keys are not counted:\n%s", said)
	}
}

// TestTheTaskRestsWhereNoProfileIsSigned runs it on the machine's clock.
func TestTheTaskRestsWhereNoProfileIsSigned(t *testing.T) {
	r := newRing(t, keyOf("alice"))
	r.Folder = t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	r.keyring.installed(r.host, []*protocol.Profile{mysql()})
	r.host.refreshes, r.read = nil, 0
	go func() { ended <- r.run(ctx, func() {}) }()
	r.wake(true)
	r.keyring.installed(r.host, []*protocol.Profile{mysql()})
	r.uses.note("0a0b0c0d", keys.Use{At: slotBegins, From: "10.9.0.1"})
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if len(r.host.refreshes) > 0 || r.read > 0 {
		t.Errorf("there were %d refreshes, and %d readings of files", len(r.host.refreshes), r.read)
	}
	if len(r.disk.used) != 1 {
		t.Error("the end of the service has not written when keys were used")
	}
}

func TestLastUsesAreWrittenOnceASlotAndWhatCannotBeWaits(t *testing.T) {
	r := newRing(t, keyOf("alice"))
	profiles := []*protocol.Profile{signed("admin")} // whose lease is an hour
	see := func(address string, users ...backend.User) {
		s := open(address, 0)
		s.Profile, s.Users = "admin", users
		r.uses.see(events.Snapshot{Began: r.now, Reading: &backend.Reading{Sources: []backend.Source{s}}}, profiles)
	}
	const id = "0a0b0c0d"
	start := r.now.Wall
	see("10.9.1.7/32", backend.User{Name: "alice", Key: id, Left: time.Hour - 3*time.Second})
	r.passes(5 * time.Second)
	see("10.9.1.7/32", backend.User{Name: "alice", Key: id, Left: time.Hour - 8*time.Second})
	r.disk.err = errors.New("no")
	r.passes(protocol.SlotTime)
	if len(r.disk.used) > 0 || strings.Count(r.log.String(), "not kept") != 1 {
		t.Errorf("written: %v\n%s", r.disk.used, r.log.String())
	}
	r.disk.err = nil
	r.passes(2 * protocol.SlotTime)
	want := map[string]keys.Use{id: {At: start.Add(-3 * time.Second), From: "10.9.1.7"}}
	if len(r.disk.used) != 1 || !maps.Equal(r.disk.used[0], want) {
		t.Fatalf("written: %v", r.disk.used)
	}
	see("10.9.1.7/32", backend.User{Name: "alice", Key: id, Left: time.Hour - 73*time.Second}) // the same use
	see("10.9.1.8/32", backend.User{Name: "alice", Key: id, Left: time.Hour})
	r.passes(protocol.SlotTime)
	if len(r.disk.used) != 2 || r.disk.used[1][id].From != "10.9.1.8" {
		t.Errorf("written: %v", r.disk.used)
	}
}

func TestALeaseWithoutEndIsAUseWhenItIsNew(t *testing.T) {
	var u uses
	profiles := []*protocol.Profile{signed("admin")}
	s := open("10.9.1.7/32", 0)
	s.Profile, s.Users = "admin", []backend.User{{Name: "alice", Key: "0a0b0c0d", Unlimited: true}}
	other := s
	other.Users = []backend.User{{Name: "bob", Key: "0b0b0c0d", Unlimited: true}}
	for i, sources := range [][]backend.Source{{s}, {s, other}, {s, other}} {
		u.see(events.Snapshot{Began: events.Moment{Wall: slotBegins.Add(time.Duration(i) * time.Minute)}, Reading: &backend.Reading{Sources: sources}}, profiles)
	}
	if got := u.take(); !slices.Equal(slices.Collect(maps.Keys(got)), []string{"0b0b0c0d"}) || !got["0b0b0c0d"].At.Equal(slotBegins.Add(time.Minute)) {
		t.Errorf("uses: %v", got)
	}
}

func TestKeysAreTakenOutAlsoWhereTheRecordCannotBeRead(t *testing.T) {
	r := newRing(t, keyOf("alice"), keyOf("bob"))
	r.disk.unread = errors.New("signed.json is broken")
	r.files = r.files[1:]
	r.wake(true)
	asked := r.passes(time.Second)
	if len(asked) == 0 || users(asked[0].Keys) != "bob" || users(asked[0].Gone) != "alice" {
		t.Fatalf("refreshes: %+v", asked)
	}
	if err := asked[0].Record(1); !errors.Is(err, r.disk.unread) {
		t.Errorf("tokens may be loaded: %v", err)
	}
	if !strings.Contains(r.summary(), "signed.json is broken") {
		t.Errorf("nobody is told: %q", r.summary())
	}
}
