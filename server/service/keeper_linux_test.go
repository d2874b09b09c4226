package service

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"testing"
	"time"

	"knockkit/internal/kernel/backend"
	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
	"knockkit/protocol"
	"knockkit/protocol/format"
	"knockkit/server"
	"knockkit/server/events"
)

func TestMain(m *testing.M) { labtest.Main(m) }

// kept is a keeper of a host, with a clock and files that the test sets.
type kept struct {
	*keeper
	t   *testing.T
	on  *lab.Host
	now events.Moment
	is  Wanted
}

// newKept starts a keeper with iptables, which alone has leases that end at a time
// of day.
func newKept(t *testing.T) *kept {
	t.Helper()
	p, diagnostics := format.ParseProfile("mysql.toml", []byte("sequence = [\"icmp\", \"7/tcp\", \"8000/tcp\"]\nopen = [\"3306/tcp\"]\n"))
	if diagnostics.HasErrors() {
		t.Fatal(diagnostics)
	}
	k := &kept{t: t, on: labtest.NewHost(t, "server"), now: events.Moment{Wall: time.Now()}}
	k.is = Wanted{Profiles: []*protocol.Profile{p}, Settings: server.DefaultSettings(), Files: 1}
	k.keeper = newKeeper(newService(Config{
		Load: func() (Wanted, error) { return k.is, nil },
		Log:  slog.New(slog.NewTextHandler(t.Output(), nil)),
		Open: func(ctx context.Context, settings server.Settings) (Host, error) {
			b, _, err := server.OpenBackend(ctx, "iptables")
			return server.New(b, settings), err
		},
	}, func() events.Moment { return k.now }))
	k.do(func() error { return k.start(t.Context()) })
	return k
}

// do calls f inside the host.
func (k *kept) do(f func() error) {
	k.t.Helper()
	if err := k.on.Do(f); err != nil {
		k.t.Fatal(err)
	}
}

// left is how long the kernel lets the lease last.
func (k *kept) left() time.Duration {
	k.t.Helper()
	var left time.Duration
	k.do(func() error {
		r, err := k.host.Read(k.t.Context(), 0)
		if err != nil {
			return err
		}
		for _, s := range r.Sources {
			if s.State == backend.Open {
				left = s.Left
			}
		}
		return nil
	})
	return left
}

func eachIPTables(t *testing.T, f func(t *testing.T)) {
	labtest.NeedRoot(t)
	labtest.Need(t, "iptables-nft-restore", "iptables-legacy-restore")
	for _, flavour := range lab.Flavours() {
		t.Run(flavour.Name, func(t *testing.T) {
			t.Setenv("PATH", labtest.PathOf(t, flavour)+":"+os.Getenv("PATH"))
			f(t)
		})
	}
}

// TestALeaseKeepsItsTimeWhenTheClockIsSet steps the service's clock, and does to the
// kernel's rule what the step of a real one would: no clock but the machine's own can
// be set for xt_time, and that one is everybody's.
func TestALeaseKeepsItsTimeWhenTheClockIsSet(t *testing.T) {
	const given = 30 * time.Minute
	addr := lab.ForgedAddr4(1)
	eachIPTables(t, func(t *testing.T) {
		for _, by := range []time.Duration{time.Hour, 10 * time.Minute, -time.Hour} {
			t.Run(by.String(), func(t *testing.T) {
				k := newKept(t)
				grant := func(d time.Duration) error {
					_, err := k.host.Grant(t.Context(), "mysql", netip.PrefixFrom(addr, addr.BitLen()), d)
					return err
				}
				k.do(func() error { return errors.Join(grant(given), k.check(t.Context())) })
				k.now.Wall = k.now.Wall.Add(by)
				k.do(func() error {
					if by >= given { // over: as good as gone
						_, err := k.host.(*server.Server).Revoke(t.Context(), "mysql", netip.PrefixFrom(addr, addr.BitLen()), false)
						return err
					}
					return grant(given - by)
				})
				if was := (given - max(by, 0) - k.left()).Abs(); by < given && by > 0 && was > stepAtLeast {
					t.Fatalf("the step was not imitated: %s are left", k.left())
				}
				k.do(func() error { return k.check(t.Context()) })
				if got := k.left(); (given - got).Abs() > stepAtLeast {
					t.Errorf("%s are left, of %s in which nothing passed", got, given)
				}
				k.do(func() error { return k.check(t.Context()) })
				if got := k.left(); (given - got).Abs() > stepAtLeast {
					t.Errorf("the step is taken back twice: %s are left", got)
				}
			})
		}
	})
}

// TestAReloadThatTheHostKeptFromBeingDoneIsDoneAgain has the lock taken, as a long
// `install` of somebody else does.
func TestAReloadThatTheHostKeptFromBeingDoneIsDoneAgain(t *testing.T) {
	eachIPTables(t, func(t *testing.T) {
		k := newKept(t)
		k.is.Profiles = nil
		k.do(func() error {
			lock, err := server.TakeLock(t.Context())
			if err != nil {
				return err
			}
			defer lock.Release()
			impatient, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			if k.reload(impatient, "test") == nil {
				t.Error("it gives up")
			}
			return nil
		})
		if len(k.wanted.Profiles) != 1 {
			t.Error("what could not be installed is wanted all the same: the rules would look wrong")
		}
		k.do(func() error {
			if k.reload(t.Context(), "test") != nil || len(k.wanted.Profiles) != 0 {
				t.Error("it has not reloaded")
			}
			return nil
		})
		k.is.Broken = []server.BrokenFile{{Profile: "mysql", Err: errors.New("wrong")}}
		if k.reload(t.Context(), "test") != nil {
			t.Error("a wrong file is read again and again")
		}
	})
}

// TestAFlushBringsBackNoLeaseThatAReloadHasEnded: the service remembers leases, and what
// they were for.
func TestAFlushBringsBackNoLeaseThatAReloadHasEnded(t *testing.T) {
	eachIPTables(t, func(t *testing.T) {
		for _, c := range []struct {
			name, open string
			left       int
		}{{"a port more", `"3306/tcp", "22/tcp"`, 0}, {"another sequence", `"3306/tcp"`, 2}} {
			t.Run(c.name, func(t *testing.T) {
				k := newKept(t)
				k.do(func() error {
					for _, addr := range []netip.Addr{lab.ForgedAddr4(1), lab.ForgedAddr6(1)} {
						if _, err := k.host.Grant(t.Context(), "mysql", netip.PrefixFrom(addr, addr.BitLen()), 0); err != nil {
							return err
						}
					}
					return k.check(t.Context())
				})
				p, diagnostics := format.ParseProfile("mysql.toml", []byte("sequence = [\"icmp\", \"8000/tcp\"]\nopen = ["+c.open+"]\n"))
				if diagnostics.HasErrors() {
					t.Fatal(diagnostics)
				}
				k.is.Profiles = []*protocol.Profile{p}
				k.do(func() error { k.reload(t.Context(), "test"); return nil })
				for _, tool := range []string{"iptables", "ip6tables"} {
					labtest.MustRun(t, k.on, "", tool, "-F")
					labtest.MustRun(t, k.on, "", tool, "-X")
				}
				k.do(func() error {
					if err := k.check(t.Context()); err != nil {
						return err
					}
					r, err := k.host.Read(t.Context(), 0)
					if err != nil {
						return err
					}
					if len(r.Profiles) != 1 || len(r.Drift) > 0 || len(r.Sources) != c.left {
						t.Errorf("%d profiles are installed, %d leases are there, not %d; drift: %q", len(r.Profiles), len(r.Sources), c.left, r.Drift)
					}
					return nil
				})
			})
		}
	})
}
