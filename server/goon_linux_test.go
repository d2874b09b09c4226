package server_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"knockkit/internal/lab/labtest"
	"knockkit/protocol"
	"knockkit/server"
)

// TestConnectionsThatExistGoOnWhenAGateIsInstalled lets the client speak first
// after the install, on a host where conntrack has never seen the connection.
func TestConnectionsThatExistGoOnWhenAGateIsInstalled(t *testing.T) {
	eachBackend(t, func(t *testing.T, name string) {
		srv, client := labtest.NewHost(t, "server"), labtest.NewHost(t, "client")
		labtest.Join(t, srv, client)
		b, _, err := server.OpenBackend(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		for _, addr := range []netip.Addr{srv.Addr4, srv.Addr6} {
			l := labtest.Listen(t, srv, "tcp", netip.AddrPortFrom(addr, 3306).String())
			go func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					go func() { _, _ = io.Copy(c, c) }()
				}
			}()
		}
		var conns []net.Conn
		for _, addr := range []netip.Addr{srv.Addr4, srv.Addr6} {
			c, err := client.Dial(t.Context(), "tcp", netip.AddrPortFrom(addr, 3306).String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			conns = append(conns, c)
			if err := echoes(c, "before"); err != nil {
				t.Fatal(err)
			}
		}
		p := article(t, "")
		if err := srv.Do(func() error {
			_, err := server.New(b, strict()).Install(t.Context(), []*protocol.Profile{p}, server.InstallOptions{})
			return err
		}); err != nil {
			t.Fatal(err)
		}
		for _, c := range conns {
			if err := echoes(c, "after"); err != nil {
				t.Errorf("%s: %v", c.RemoteAddr(), err)
			}
		}
	})
}

// echoes sends a word and reads it back.
func echoes(c net.Conn, word string) error {
	if err := c.SetDeadline(time.Now().Add(soon)); err != nil {
		return err
	}
	if _, err := c.Write([]byte(word)); err != nil {
		return err
	}
	got := make([]byte, len(word))
	if _, err := io.ReadFull(c, got); err != nil {
		return fmt.Errorf("reading the echo: %w", err)
	}
	if string(got) != word {
		return errors.New("the echo is wrong")
	}
	return nil
}
