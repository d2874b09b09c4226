package service

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"

	"golang.org/x/net/netutil"

	"knockkit/internal/metrics"
)

// pageRetry is how soon an address is tried again that somebody else has. Gates matter more than
// figures: this does not end the service.
const pageRetry = 10 * time.Second

// pageVisitors is how many connections the page takes at once: any local user can open them.
const pageVisitors = 64

// pageTask serves the metrics at /metrics.
func pageTask(addr netip.AddrPort, m *metrics.Metrics, log *slog.Logger) *task {
	return newTask("metrics", func(ctx context.Context, ready func()) error {
		l, err := net.Listen("tcp", addr.String())
		if err != nil {
			log.Error("metrics cannot be shown: tried again", "address", addr, "err", err)
		}
		ready()
		for err != nil {
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(pageRetry):
				l, err = net.Listen("tcp", addr.String())
			}
		}
		mux := http.NewServeMux()
		mux.Handle("GET /metrics", m.Handler())
		page := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 8 << 10}
		stop := context.AfterFunc(ctx, func() { page.Close() })
		defer stop()
		l = netutil.LimitListener(l, pageVisitors) // tools need file descriptors too
		log.Info("metrics", "page", "http://"+addr.String()+"/metrics")
		if err := page.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
}
