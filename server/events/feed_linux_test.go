package events

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"knockkit/internal/kernel/backend"
	"knockkit/internal/kernel/claim"
	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
)

func TestMain(m *testing.M) { labtest.Main(m) }

// soon is how long a condition may take that needs no waiting.
const soon = 5 * time.Second

// fed is a feed that runs on a host.
type fed struct {
	*Feed
	end func() // and wait until it has

	mu    sync.Mutex
	roles []string
}

func (f *fed) said() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Join(f.roles, "\n")
}

func run(t *testing.T, h *lab.Host, in backend.Installed) *fed {
	t.Helper()
	clock := SystemClock()
	return runReading(t, h, clock, readGap, func(context.Context) (Snapshot, error) {
		return Snapshot{clock(), &backend.Reading{Installed: in}}, nil
	})
}

func runReading(t *testing.T, h *lab.Host, clock Clock, every time.Duration, read ReadFunc) *fed {
	t.Helper()
	f := &fed{Feed: NewFeed(clock, read)}
	f.Every = every
	f.OnRole = func(r Role, err error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.roles = append(f.roles, fmt.Sprint(r, " ", err))
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- h.Do(func() error { return f.Run(ctx) }) }()
	var once sync.Once
	f.end = func() {
		once.Do(func() {
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(f.end)
	return f
}

// becomes waits until the feed has said its role.
func (f *fed) becomes(t *testing.T, r Role) {
	t.Helper()
	labtest.Eventually(t, soon, func() error {
		if !strings.Contains(f.said(), string(r)) {
			return fmt.Errorf("it %q", f.said())
		}
		return nil
	})
}

// reporting is a host with a rule that reports pings over loopback as knocks.
func reporting(t *testing.T) *lab.Host {
	t.Helper()
	labtest.NeedRoot(t)
	labtest.Need(t, "nft", "ping")
	h := labtest.NewHost(t, "server")
	labtest.MustRun(t, h, "add table inet t\nadd chain inet t in { type filter hook input priority 0; }\n"+
		`add rule inet t in icmp type echo-request log group 7115 snaplen 128 prefix "knockd knock mysql 1"`+"\n", "nft", "-f", "-")
	return h
}

func ping(t *testing.T, h *lab.Host) {
	t.Helper()
	labtest.MustRun(t, h, "", "ping", "-c", "1", "-W", "1", "127.0.0.1")
}

// gets waits for an event.
func gets(t *testing.T, w *watcher) Notice {
	t.Helper()
	select {
	case i := <-w.C:
		return i.Notice
	case <-time.After(soon):
		t.Fatal("no event")
	}
	return Notice{}
}

func TestOneFeedListensTheOtherReadsFromItAndTakesItsPlace(t *testing.T) {
	h := reporting(t)
	in := installed(t, article())
	first := run(t, h, in)
	first.becomes(t, Listener)
	second := run(t, h, in)
	second.becomes(t, Reader)
	one, two := first.Hub.Watch(), second.Hub.Watch()
	ping(t, h)
	if a, b := gets(t, one), gets(t, two); a.Detail != "knock 1 of 3" || b.Detail != a.Detail || !b.Time.Equal(a.Time) || b.Address != "127.0.0.1" {
		t.Errorf("%+v\n%+v", a, b)
	}
	first.end()
	second.becomes(t, Listener)
	ping(t, h)
	if e := gets(t, two); e.Kind != Knock {
		t.Errorf("%+v", e)
	}
}

// TestWhatPacketsDidBeforeAnActIsToldBeforeIt: a command tells what it has done at once after a knock,
// again and again. Whoever was revoked comes to the gate as such.
func TestWhatPacketsDidBeforeAnActIsToldBeforeIt(t *testing.T) {
	h := reporting(t)
	labtest.MustRun(t, h, "add rule inet t in udp dport 9 log group 7115 snaplen 128 prefix \"knockd grant mysql\"\n"+
		"add rule inet t in tcp dport 3306 tcp flags syn log group 7115 snaplen 128 prefix \"knockd denied mysql\"\n", "nft", "-f", "-")
	f := run(t, h, installed(t, article()))
	f.becomes(t, Listener)
	w := f.Hub.Watch()
	holder := netip.MustParsePrefix("127.0.0.1/32")
	for range 50 {
		if err := h.Do(func() error {
			c, err := net.Dial("udp", "127.0.0.1:9")
			if err != nil {
				return err
			}
			defer c.Close()
			if _, err := c.Write([]byte("knock")); err != nil {
				return err
			}
			Tell(t.Context(), []Act{{Kind: Revoke, Profile: "mysql", Address: holder, Steps: 3, Detail: "the lease is revoked"}})
			_, err = net.Dial("tcp", "127.0.0.1:3306") // nobody listens there
			if errors.Is(err, unix.ECONNREFUSED) {
				return nil
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"open for 1h", "the lease is revoked", "no lease for 3306/tcp: it was revoked"} {
			if e := gets(t, w); e.Detail != want {
				t.Fatalf("%q, not %q", e.Detail, want)
			}
		}
	}
}

// TestALeaseThatACommandRevokesIsMissedByNoReadingBeforeTheCommandHasSaidSo: the command has committed,
// and has the lock still.
func TestALeaseThatACommandRevokesIsMissedByNoReadingBeforeTheCommandHasSaidSo(t *testing.T) {
	labtest.NeedRoot(t)
	h := labtest.NewHost(t, "server")
	holder := netip.MustParsePrefix("10.9.0.1/32")
	clock := SystemClock()
	var readings, gone atomic.Int64
	f := runReading(t, h, clock, readGap, func(context.Context) (Snapshot, error) {
		s := Snapshot{clock(), &backend.Reading{Installed: installed(t, article())}}
		if readings.Add(1); gone.Load() == 0 {
			s.Sources = []backend.Source{{Profile: "mysql", Address: holder, State: backend.Open, Left: time.Hour}}
		}
		return s, nil
	})
	f.becomes(t, Listener)
	w := f.Hub.Watch()
	again := func(times int64) {
		t.Helper()
		from := readings.Load()
		labtest.Eventually(t, 4*readGap+soon, func() error {
			if readings.Load() < from+times {
				return errors.New("no reading")
			}
			return nil
		})
	}
	again(1)
	if err := h.Do(func() error {
		lock, err := claim.Take(claim.Lock)
		if err != nil {
			return err
		}
		defer lock.Close()
		gone.Store(1)
		again(2) // the first of them is in the tracker's hands
		Tell(t.Context(), []Act{{Kind: Revoke, Profile: "mysql", Address: holder, Steps: 3, Detail: "the lease is revoked"}})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	again(2)
	if e := gets(t, w); e.Kind != Revoke || e.By == nil || e.Address != "10.9.0.1" {
		t.Errorf("%+v", e)
	}
	select {
	case i := <-w.C:
		t.Errorf("and %+v", i)
	default:
	}
}

// TestATellerWaitsForNobodyWithoutEnd: not for a process that was stopped, nor for one of another user.
func TestATellerWaitsForNobodyWithoutEnd(t *testing.T) {
	labtest.NeedRoot(t)
	h := labtest.NewHost(t, "server")
	took := func() (d time.Duration) {
		t.Helper()
		if err := h.Do(func() error {
			began := time.Now()
			Tell(t.Context(), []Act{{Kind: Install, Profile: "mysql"}})
			d = time.Since(began)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return d
	}
	if d := took(); d > tellLimit/2 {
		t.Errorf("it waits %s for nobody", d)
	}
	var l *net.UnixListener
	listen := func() (err error) {
		l, err = net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: socketName})
		return err
	}
	if err := h.Do(listen); err != nil {
		t.Fatal(err)
	}
	if d := took(); d < tellLimit || d > tellLimit+soon {
		t.Errorf("it waits %s for a process that does not answer", d)
	}
	l.Close()
	if err := asNobody(t, h, listen); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if d := took(); d > tellLimit/2 {
		t.Errorf("it waits %s for a stranger", d)
	}
}

// TestReportsThatStandTogetherAreOneBatchUpToAMark: a stranger's flood makes as many as the rules let
// through.
func TestReportsThatStandTogetherAreOneBatchUpToAMark(t *testing.T) {
	h := reporting(t)
	var g *Group
	if err := h.Do(func() (err error) {
		g, err = OpenGroup(backend.LogGroup)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if b, _ := g.receive(); b.err != nil || b.marked == 0 || len(b.reports) > 0 { // the mark of the beginning
		t.Fatalf("%+v", b)
	}
	pings := func(n int) {
		labtest.MustRun(t, h, "", "ping", "-c", fmt.Sprint(n), "-i", "0.002", "-W", "1", "127.0.0.1")
	}
	pings(20)
	mark, err := g.mark()
	if err != nil {
		t.Fatal(err)
	}
	pings(largestBatch + 3)
	for _, want := range []struct {
		reports int
		marked  uint32
		full    bool
	}{{20, mark, true}, {largestBatch, 0, true}, {3, 0, false}} {
		if b, full := g.receive(); b.err != nil || len(b.reports) != want.reports || b.marked != want.marked || full != want.full {
			t.Errorf("%d reports, mark %d, full %v, %v; not %+v", len(b.reports), b.marked, full, b.err, want)
		}
	}
}

func TestTheGroupHasOneListener(t *testing.T) {
	h := labtest.NewHost(t, "server")
	open := func() (g *Group, err error) {
		err = h.Do(func() (err error) {
			g, err = OpenGroup(backend.LogGroup)
			return err
		})
		return g, err
	}
	g, err := open()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := open(); !errors.Is(err, errTaken) {
		t.Errorf("the second listener gets %v", err)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	if g, err = open(); err != nil {
		t.Fatalf("when the first one is gone: %v", err)
	}
	if err := g.Close(); err != nil {
		t.Error(err)
	}
}

// asNobody calls f on the host with the effective user 65534, which ends with the thread.
func asNobody(t *testing.T, h *lab.Host, f func() error) error {
	t.Helper()
	return h.Do(func() error {
		const same = ^uintptr(0)
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, same, 65534, same); errno != 0 { // of this thread only
			return errno
		}
		return f()
	})
}

func TestAStrangerGetsNoEvents(t *testing.T) {
	h := reporting(t)
	run(t, h, installed(t, article())).becomes(t, Listener)
	labtest.Eventually(t, soon, func() error {
		return h.Do(func() error { // root gets the first line
			c, err := connect(t.Context())
			if err != nil {
				return err
			}
			return c.conn.Close()
		})
	})
	err := asNobody(t, h, func() error {
		c, err := net.Dial("unix", socketName)
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = c.Read(make([]byte, 1))
		return err
	})
	if !errors.Is(err, io.EOF) && !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("nobody gets %v", err)
	}
}

// TestAStrangerWhoTakesTheSocketsNameIsNotBelievedAndStopsNothing has one who
// offers events of his own.
func TestAStrangerWhoTakesTheSocketsNameIsNotBelievedAndStopsNothing(t *testing.T) {
	h := reporting(t)
	var l *net.UnixListener
	if err := asNobody(t, h, func() (err error) {
		l, err = net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: socketName})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f := run(t, h, installed(t, article()))
	f.becomes(t, "other watchers get no events: process ")
	w := f.Hub.Watch()
	ping(t, h)
	if e := gets(t, w); e.Kind != Knock {
		t.Errorf("%+v", e)
	}
}

// held holds the group and the socket's name, and serves nobody.
func held(t *testing.T, h *lab.Host) (*Group, *net.UnixListener) {
	t.Helper()
	var g *Group
	var l *net.UnixListener
	if err := h.Do(func() (err error) {
		if g, err = OpenGroup(backend.LogGroup); err != nil {
			return err
		}
		l, err = net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: socketName})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return g, l
}

// TestAListenerThatIsStoppedIsNotWaitedForWithoutEnd has a process of our own that
// holds the group and the name and says nothing more, as after Ctrl-Z: before it has
// said hello, and afterwards.
func TestAListenerThatIsStoppedIsNotWaitedForWithoutEnd(t *testing.T) {
	h := reporting(t)
	g, l := held(t, h)
	defer g.Close()
	defer l.Close()
	never := run(t, h, installed(t, article()))
	never.becomes(t, Waiting)
	began := time.Now()
	if never.end(); time.Since(began) > time.Second {
		t.Errorf("it ended %s after it was told to", time.Since(began))
	}
	if !strings.Contains(never.said(), "does not answer") {
		t.Errorf("it %s", never.said())
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // closed at the end
			}
			defer c.Close()                                // not before: it hangs, and is not gone
			_, _ = io.WriteString(c, "{\"hello\":\"\"}\n") // to those who are gone, too
		}
	}()
	once := run(t, h, installed(t, article()))
	once.becomes(t, Reader)
	began = time.Now()
	labtest.Eventually(t, helloLate+soon, func() error {
		if strings.Count(once.said(), string(Reader)) < 2 {
			return fmt.Errorf("it %q", once.said())
		}
		return nil
	})
	if since := time.Since(began); since < helloLate-time.Second {
		t.Errorf("it gives up after %s already", since)
	}
}

// TestAListenerThatEndsWhileAnotherAsksItIsNoAlarm: the group is free a moment later.
func TestAListenerThatEndsWhileAnotherAsksItIsNoAlarm(t *testing.T) {
	h := reporting(t)
	g, l := held(t, h)
	f := run(t, h, installed(t, article()))
	for range 2 { // it asks, gets no word, and asks again
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	l.Close()
	g.Close()
	if f.becomes(t, Listener); f.said() != string(Listener)+" <nil>" {
		t.Errorf("it %s", f.said())
	}
}

func TestWhoServesEventsSaysAgainAndAgainThatItDoes(t *testing.T) {
	h := reporting(t)
	run(t, h, installed(t, article())).becomes(t, Listener)
	c := dial(t, h)
	in := bufio.NewReader(c)
	for range 2 {
		if line, err := in.ReadString('\n'); err != nil || !strings.Contains(line, "hello") {
			t.Fatal(line, err)
		}
	}
}

// dial connects to whoever serves events on a host.
func dial(t *testing.T, h *lab.Host) (c net.Conn) {
	t.Helper()
	labtest.Eventually(t, soon, func() error {
		return h.Do(func() (err error) {
			c, err = net.Dial("unix", socketName)
			return err
		})
	})
	t.Cleanup(func() { c.Close() })
	if err := c.SetReadDeadline(time.Now().Add(soon)); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAReaderOfTheSocketThatIsSlowIsToldHowManyItLost(t *testing.T) {
	h := reporting(t)
	f := run(t, h, installed(t, article()))
	f.becomes(t, Listener)
	c := dial(t, h)
	in := bufio.NewReader(c)
	if line, err := in.ReadString('\n'); err != nil || !strings.Contains(line, "hello") {
		t.Fatal(line, err)
	}
	const sent = 50_000 // far more than the queue and the socket hold
	for range sent {
		f.Hub.Publish(Item{Notice: Notice{Kind: Knock, Detail: "one of very many"}})
	}
	if err := c.SetReadDeadline(time.Now().Add(soon)); err != nil {
		t.Fatal(err)
	}
	got, lost := 0, 0
	for got+lost < sent {
		line, err := in.ReadBytes('\n')
		if err != nil {
			t.Fatalf("%d came and %d were lost, of %d: %v", got, lost, sent, err)
		}
		if strings.Contains(string(line), "hello") {
			continue
		}
		var i Item
		if err := i.UnmarshalJSON(line); err != nil {
			t.Fatal(err)
		}
		if lost += int(i.Lost); i.Lost == 0 {
			got++
		}
		f.Hub.Publish(Item{Notice: Notice{Kind: Knock}}) // the next event that there is room for brings the word
	}
	if lost == 0 {
		t.Error("nothing was lost: the test proves nothing")
	}
}
