package events

import (
	"context"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"knockkit/internal/kernel/backend"
	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
)

// reportingGrants is a host whose rules report pings over loopback as grants of admin, and datagrams to
// port 9 as grants of mysql.
func reportingGrants(t *testing.T) *lab.Host {
	t.Helper()
	labtest.NeedRoot(t)
	labtest.Need(t, "nft", "ping")
	h := labtest.NewHost(t, "server")
	labtest.MustRun(t, h, "add table inet t\nadd chain inet t in { type filter hook input priority 0; }\n"+
		`add rule inet t in icmp type echo-request log group 7115 snaplen 128 prefix "knockd grant admin"`+"\n"+
		`add rule inet t in udp dport 9 log group 7115 snaplen 128 prefix "knockd grant mysql"`+"\n", "nft", "-f", "-")
	return h
}

// both is a signed profile and one that is not.
func both(t *testing.T) backend.Installed {
	return installed(t, map[string]string{"mysql": article()["mysql"], "admin": signedProfile()["admin"]})
}

var loopback = netip.MustParseAddr("127.0.0.1")

// TestAGrantOfASignedProfileIsLookedUpOnce, and another is not: with a batch of both there is one reading,
// and the order stays.
func TestAGrantOfASignedProfileIsLookedUpOnce(t *testing.T) {
	h := reportingGrants(t)
	clock, in := SystemClock(), both(t)
	var readings atomic.Int64
	f := runReading(t, h, clock, time.Hour, func(context.Context) (Snapshot, error) {
		readings.Add(1)
		by := opened{by: map[string][]backend.Opening{"127.0.0.1/32": openedBy(t, "alice 0s")}}
		lease := func(profile string) backend.Source {
			return backend.Source{Profile: profile, Address: single(loopback), State: backend.Open, Left: time.Hour}
		}
		return Snapshot{clock(), &backend.Reading{Installed: in, Sources: []backend.Source{lease("admin"), lease("mysql")}, Planner: by}}, nil
	})
	f.becomes(t, Listener)
	w := f.Hub.Watch()
	datagram := func() error {
		c, err := h.Dial(t.Context(), "udp", "127.0.0.1:9")
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = c.Write([]byte("knock"))
		return err
	}
	expect := func(profile, user string) {
		t.Helper()
		if e := gets(t, w); e.Kind != Grant || e.Profile != profile || e.User != user {
			t.Errorf("%+v, not a grant of %s to %q", e, profile, user)
		}
	}
	for range 3 {
		if err := datagram(); err != nil {
			t.Fatal(err)
		}
		expect("mysql", "")
	}
	if n := readings.Load(); n != 1 {
		t.Errorf("%d readings for grants of a profile that is not signed, and at the beginning", n)
	}
	ping(t, h)
	expect("admin", "alice")
	if n := readings.Load(); n != 2 {
		t.Errorf("%d readings, not one more", n)
	}
	for range 3 {
		if err := datagram(); err != nil {
			t.Fatal(err)
		}
		ping(t, h)
	}
	for range 3 {
		expect("mysql", "")
		expect("admin", "alice")
	}
}

// TestAReadingThatHangsOrFailsDelaysNoNoticeForLong: the user is not known then.
func TestAReadingThatHangsOrFailsDelaysNoNoticeForLong(t *testing.T) {
	h := reportingGrants(t)
	clock, in := SystemClock(), both(t)
	var readings atomic.Int64
	f := runReading(t, h, clock, time.Hour, func(ctx context.Context) (Snapshot, error) {
		switch readings.Add(1) {
		case 1:
			return Snapshot{clock(), &backend.Reading{Installed: in}}, nil
		case 2:
			return Snapshot{}, context.DeadlineExceeded
		}
		<-ctx.Done()
		return Snapshot{}, ctx.Err()
	})
	f.becomes(t, Listener)
	w := f.Hub.Watch()
	for range 3 {
		ping(t, h)
		if e := gets(t, w); e.Kind != Grant || e.User != "" {
			t.Errorf("%+v", e)
		}
	}
}
