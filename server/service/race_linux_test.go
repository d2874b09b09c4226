package service

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
	"knockkit/protocol"
	"knockkit/protocol/format"
	"knockkit/server"
	"knockkit/server/events"
)

// besides makes this test binary a service with all that may happen beside it: its value
// is the backend.
const besides = "KNOCKD_TEST_RUNS_BESIDE"

// TestNoPartOfTheServiceReadsWhatAnotherWrites proves something under the race detector
// only: while sources knock, other profiles are installed, files change, the page is visited,
// and somebody watches.
func TestNoPartOfTheServiceReadsWhatAnotherWrites(t *testing.T) {
	if name := os.Getenv(besides); name != "" {
		runBeside(t, name)
		return
	}
	labtest.NeedRoot(t)
	labtest.Need(t, "nft", "iptables-restore")
	for _, name := range []string{"iptables", "nftables"} {
		t.Run(name, func(t *testing.T) {
			h := labtest.NewHost(t, "server")
			w := labtest.Wire(t, h)
			ctx, cancel := context.WithCancel(t.Context())
			knocking := make(chan error, 1)
			go func() { knocking <- knockOn(ctx, h, w) }()
			out := labtest.Run(t, h, "", "env", besides+"="+name, os.Args[0], "-test.v", "-test.run=^TestNoPartOfTheServiceReadsWhatAnotherWrites$")
			cancel()
			if err := <-knocking; err != nil {
				t.Error(err)
			}
			if out.Code != 0 {
				t.Errorf("exit status %d\n%s%s", out.Code, out.Stdout, out.Stderr)
			}
		})
	}
}

// knockOn lets one source after another make the knocks of [mysqlProfile] until the context
// ends.
func knockOn(ctx context.Context, h *lab.Host, w *lab.Wire) error {
	for i := 0; ; i++ {
		from := netip.AddrPortFrom(lab.ForgedAddr4(1+i%50), uint16(20000+i%20000))
		for _, packet := range [][]byte{lab.SYN(from, netip.AddrPortFrom(h.Addr4, 7)), lab.SYN(from, netip.AddrPortFrom(h.Addr4, 8000))} {
			if err := w.Inject(packet); err != nil {
				return err
			}
		}
		w.Drain()
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// runBeside runs the service of this process's network namespace for a few seconds.
func runBeside(t *testing.T, name string) {
	const page = "127.0.0.1:9478"
	ctx, cancel := context.WithCancel(t.Context())
	log := &errorLog{t: t, ctx: ctx}
	settings := server.DefaultSettings()
	settings.Backend, settings.Metrics = name, netip.MustParseAddrPort(page)
	other := parsed(t, "other", `sequence = ["1001/tcp", "1002/tcp"]`+"\n"+`open = ["80/tcp"]`)
	var version atomic.Int32 // of the file
	reload := make(chan os.Signal)
	config := Config{
		Folder: t.TempDir(),
		Load: func() (Wanted, error) {
			p := parsed(t, "mysql", fmt.Sprintf("sequence = [\"7/tcp\", \"8000/tcp\"]\nopen = [\"3306/tcp\"]\nlease = \"%ds\"", 2+version.Load()%2))
			return Wanted{Profiles: []*protocol.Profile{p}, Settings: settings, Files: 1}, nil
		},
		Open: func(ctx context.Context, s server.Settings) (Host, error) {
			b, _, err := server.OpenBackend(ctx, s.Backend)
			return server.New(b, s), err
		},
		Reload: reload,
		Log:    slog.New(slog.NewTextHandler(log, nil)),
	}
	var installs, visits, snapshot int
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return Run(ctx, config) })
	labtest.Eventually(t, 10*time.Second, func() error { return visit(page) })
	time.AfterFunc(3*time.Second, cancel)
	while := func(pause time.Duration, f func() error) {
		group.Go(func() error {
			for ctx.Err() == nil {
				if err := f(); err != nil && ctx.Err() == nil {
					return err
				}
				time.Sleep(pause)
			}
			return nil
		})
	}
	beside, err := config.Open(ctx, settings)
	if err != nil {
		t.Fatal(err)
	}
	while(150*time.Millisecond, func() error { // the service is to have the lock too
		installs++
		_, err := beside.Install(ctx, []*protocol.Profile{other}, server.InstallOptions{})
		return err
	})
	while(100*time.Millisecond, func() error {
		version.Add(1)
		select {
		case reload <- unix.SIGHUP:
		case <-ctx.Done():
		}
		return nil
	})
	while(0, func() error { visits++; return visit(page) })
	clock := events.SystemClock()
	watcher := events.NewFeed(clock, (&reader{clock: clock, host: beside}).fresh)
	watched := watcher.Hub.Watch()
	group.Go(func() error { return watcher.Run(ctx) })
	group.Go(func() error {
		for range watched.C {
			snapshot++
		}
		return nil
	})
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
	if installs == 0 || visits == 0 || snapshot == 0 {
		t.Errorf("too little has happened: %d installs, %d visits, %d events seen", installs, visits, snapshot)
	}
	t.Logf("%d installs, %d visits, %d events seen", installs, visits, snapshot)
}

// visit reads the page.
func visit(page string) error {
	answer, err := http.Get("http://" + page + "/metrics")
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	_, err = io.Copy(io.Discard, answer.Body)
	return err
}

func parsed(t *testing.T, name, text string) *protocol.Profile {
	p, diagnostics := format.ParseProfile(name+".toml", []byte(text+"\n"))
	if diagnostics.HasErrors() {
		t.Fatal(diagnostics)
	}
	return p
}

// errorLog fails the test when the service logs an error before it is told to stop.
type errorLog struct {
	t   *testing.T
	ctx context.Context
}

func (l *errorLog) Write(line []byte) (int, error) {
	if bytes.Contains(line, []byte("level=ERROR")) && l.ctx.Err() == nil {
		l.t.Errorf("%s", line)
	}
	return l.t.Output().Write(line)
}
