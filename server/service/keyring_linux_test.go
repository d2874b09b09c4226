package service

import (
	"context"
	"log/slog"
	"net/netip"
	"regexp"
	"strconv"
	"testing"
	"time"

	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
	"knockkit/protocol"
	"knockkit/protocol/format"
	"knockkit/server"
	"knockkit/server/events"
	"knockkit/server/keys"
)

// keyed is the service of a host with a signed profile, task by task, on a clock that the test sets.
type keyed struct {
	*keeper
	t     *testing.T
	on    *lab.Host
	wire  *lab.Wire
	now   events.Moment
	alice *format.KeyFile
	files []keys.Entry // alice's key, at first
	disk  keys.Store
	port  uint16
}

// newKeyed has had its first minute, in which a kernel before might have had the tokens.
func newKeyed(t *testing.T) *keyed {
	t.Helper()
	labtest.NeedRoot(t)
	labtest.NeedTUN(t)
	labtest.Need(t, "nft")
	s := &keyed{t: t, on: labtest.NewHost(t, "server"), alice: keyOf("alice"), disk: keys.Store{Dir: t.TempDir()}, port: 20000}
	s.files = []keys.Entry{{KeyFile: s.alice}}
	s.now = events.Moment{Wall: slotBegins.Add(protocol.SlotTime / 2), Up: time.Hour}
	s.wire = labtest.Wire(t, s.on)
	labtest.Listen(t, s.on, "tcp", "[::]:2222")
	s.begins()
	s.passes(2 * protocol.SlotTime)
	return s
}

// begins starts the service, as after a kill.
func (s *keyed) begins() {
	s.t.Helper()
	p := parsed(s.t, "admin", "signed = { carrier = \"icmp\" }\nopen = [\"2222/tcp\"]")
	s.keeper = newKeeper(newService(Config{
		Load: func() (Wanted, error) {
			return Wanted{Profiles: []*protocol.Profile{p}, Settings: server.DefaultSettings(), Files: 1}, nil
		},
		Open: func(ctx context.Context, settings server.Settings) (Host, error) {
			b, _, err := server.OpenBackend(ctx, "nftables")
			return server.New(b, settings), err
		},
		Keys:  func() ([]keys.Entry, []error, error) { return s.files, nil, nil },
		State: s.disk,
		Log:   slog.New(slog.NewTextHandler(s.t.Output(), nil)),
	}, func() events.Moment { return s.now }))
	s.do(func() error { return s.start(s.t.Context()) })
	s.keyring.wake(true)
	s.passes(0)
}

func (s *keyed) do(f func() error) {
	s.t.Helper()
	if err := s.on.Do(f); err != nil {
		s.t.Fatal(err)
	}
}

// passes lets the service's time pass, in which the task ticks when it wants to.
func (s *keyed) passes(d time.Duration) {
	s.t.Helper()
	s.do(func() error {
		for end := s.now.Up + d; ; {
			wait := min(s.keyring.tick(s.t.Context(), s.host), end-s.now.Up)
			if wait == 0 {
				return nil
			}
			s.now.Wall, s.now.Up = s.now.Wall.Add(wait), s.now.Up+wait
		}
	})
}

// uses sends a token of alice, of the service's slot.
func (s *keyed) uses(from netip.Addr, index int) {
	s.t.Helper()
	s.sends(from, s.alice, index)
}

func (s *keyed) sends(from netip.Addr, k *format.KeyFile, index int) {
	s.t.Helper()
	s.port++
	token := k.Token(protocol.Slot(s.now.Wall), index)
	if err := s.wire.Inject(lab.Echo(from, s.on.Addr4, s.port, 1, token[:])); err != nil {
		s.t.Fatal(err)
	}
}

// expects asks whether the port of the profile answers.
func (s *keyed) expects(open bool, from netip.Addr) {
	s.t.Helper()
	if _, err := s.wire.Drain(); err != nil {
		s.t.Fatal(err)
	}
	s.port++
	if err := s.wire.Inject(lab.SYN(netip.AddrPortFrom(from, s.port), netip.AddrPortFrom(s.on.Addr4, 2222))); err != nil {
		s.t.Fatal(err)
	}
	raw, err := s.wire.Drain()
	if err != nil {
		s.t.Fatal(err)
	}
	answered := false
	for _, r := range raw {
		p, err := lab.Parse(r)
		answered = answered || err == nil && p.Dst == from && p.Flags.Has(lab.FlagSYN|lab.FlagACK)
	}
	if answered != open {
		s.t.Errorf("open for %s: %v", from, answered)
	}
}

// expires is how an element of the map has its end.
var expires = regexp.MustCompile(`"expires": ([0-9]+)`)

// lasts is how long the kernel keeps the token that it keeps longest.
func (s *keyed) lasts() (longest time.Duration) {
	s.t.Helper()
	for _, m := range expires.FindAllStringSubmatch(labtest.MustRun(s.t, s.on, "", "nft", "-j", "list", "map", "inet", "knockd", "tokens"), -1) {
		seconds, err := strconv.Atoi(m[1])
		if err != nil {
			s.t.Fatal(err)
		}
		longest = max(longest, time.Duration(seconds)*time.Second)
	}
	return longest
}

func TestAServiceThatWasKilledLeavesTokensThatEndAndGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	s := newKeyed(t)
	one, other, third := lab.ForgedAddr4(1), lab.ForgedAddr4(2), lab.ForgedAddr4(3)
	s.expects(false, one)
	s.uses(one, 0)
	s.expects(true, one)
	// A slot's token is good until the end of the next slot, and the slot after this one is loaded.
	if left := s.lasts(); left == 0 || left > 3*protocol.SlotTime {
		t.Errorf("without a service there is a token that lasts %s", left)
	}
	s.begins()
	s.uses(other, 0)
	s.expects(false, other)
	s.uses(other, 1)
	s.expects(true, other)
	s.passes(protocol.SlotTime)
	s.uses(third, 0)
	s.expects(true, third)
}

func TestTheServiceKeepsWhatACommandDidToKeysWhoseFilesItHasNotReadYet(t *testing.T) {
	t.Parallel()
	s := newKeyed(t)
	bob := keyOf("bob")
	commands := func(files []keys.Entry, r server.KeyRefresh) {
		s.files = files
		r.Now, r.Keys = s.now.Wall, keys.Usable(files, s.now.Wall)
		s.do(func() error { _, err := s.host.RefreshKeys(t.Context(), r); return err })
	}
	commands([]keys.Entry{{KeyFile: s.alice}, {KeyFile: bob}}, server.KeyRefresh{Fresh: []string{bob.ID()}})
	s.passes(protocol.SlotTime)
	s.sends(lab.ForgedAddr4(1), bob, 0)
	s.expects(true, lab.ForgedAddr4(1))

	commands([]keys.Entry{{KeyFile: bob}}, server.KeyRefresh{Gone: []protocol.Key{s.alice.Key}})
	s.passes(protocol.SlotTime)
	s.passes(protocol.SlotTime) // had it loaded a slot for alice, it would be this one's
	s.sends(lab.ForgedAddr4(2), s.alice, 0)
	s.expects(false, lab.ForgedAddr4(2))
}

// TestAFlushShutsForAMinute: nobody knows which tokens were used up.
func TestAFlushShutsForAMinute(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		flush []string
	}{{"of all rules", []string{"flush", "ruleset"}}, {"of the used tokens", []string{"flush", "set", "inet", "knockd", "spent"}}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newKeyed(t)
			one, other := lab.ForgedAddr4(1), lab.ForgedAddr4(2)
			s.uses(one, 0)
			s.expects(true, one)
			s.do(func() error { return s.check(t.Context()) }) // which remembers the lease
			labtest.MustRun(t, s.on, "", "nft", c.flush...)
			s.noticeRules()
			s.do(func() error { return s.check(t.Context()) })
			s.passes(checkGap)
			s.expects(true, one)
			for index := range protocol.Indexes {
				s.uses(other, index)
			}
			s.expects(false, other)
			if s.keyring.summary() == "" {
				t.Error("systemctl status does not say so")
			}
			s.passes(2 * protocol.SlotTime)
			s.uses(other, 0)
			s.expects(true, other)
			if said := s.keyring.summary(); said != "" {
				t.Errorf("systemctl status still says %q", said)
			}
		})
	}
}

// TestLastUsesComeFromReadings: so they are complete where notices were lost.
func TestLastUsesComeFromReadings(t *testing.T) {
	t.Parallel()
	s := newKeyed(t)
	from := lab.ForgedAddr4(1)
	s.uses(from, 0)
	s.do(func() error { return s.check(t.Context()) })
	s.passes(protocol.SlotTime)
	if used, err := s.disk.LastUses(); err != nil || used[s.alice.ID()].From != from.String() {
		t.Errorf("written: %v, %v", used, err)
	}
}
