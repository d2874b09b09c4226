package server_test

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"knockkit/internal/kernel/backend"
	"knockkit/internal/kernel/iptables"
	"knockkit/protocol"
	"knockkit/server"
)

// TestAFullTableForgetsTheOldestSourceAndStatusSaysThatItIsFull is about iptables: a
// recency table has room for ip_list_tot addresses. That is documented, not wanted.
func TestAFullTableForgetsTheOldestSourceAndStatusSaysThatItIsFull(t *testing.T) {
	eachBackend(t, func(t *testing.T, name string) {
		if name != "iptables" {
			return // tables of xt_recent only; what nftables does is in its own tests
		}
		limit, err := iptables.TableLimit()
		if err != nil {
			t.Fatal(err)
		}
		s := newSite(t, name, strict())
		s.install(article(t, ""))
		for _, family := range protocol.Families() {
			source := func(i int) netip.Addr { return forged(family, i) }
			for i := range limit {
				s.send(source(i), ping, tcp(7))
			}
			if !s.full("mysql.2", family) {
				t.Errorf("%s: %d sources are in one position, and status does not say that its table is full", family, limit)
			}
			s.send(source(limit), ping, tcp(7)) // one too many
			for i, want := range map[int]bool{0: false, 1: true, limit: true} {
				s.send(source(i), tcp(8000))
				if got := s.holds("mysql", source(i)); got != want {
					t.Errorf("%s: source %d of %d: lease %v, want %v", family, i, limit+1, got, want)
				}
			}
		}
	})
}

// full reports whether status calls the table of a position full.
func (s *site) full(position string, f protocol.Family) bool {
	s.t.Helper()
	name := position + map[protocol.Family]string{protocol.IPv4: ".KNOCKD4", protocol.IPv6: ".KNOCKD6"}[f]
	var st server.Status
	s.do(func() (err error) {
		st, err = s.srv.Status(s.t.Context(), nil, nil)
		return err
	})
	return slices.ContainsFunc(st.Fill, func(x backend.Fill) bool {
		return x.Table == name && x.Entries >= x.Limit
	})
}

// TestAPositionEndsAlsoWithoutALimit is about nftables, where one map holds the positions of
// all profiles: sources that never leave would fill it for ever.
func TestAPositionEndsAlsoWithoutALimit(t *testing.T) {
	eachBackend(t, func(t *testing.T, name string) {
		if name != "nftables" {
			return // a recency table forgets the oldest when it is full
		}
		s := newSite(t, name, strict())
		s.install(article(t, `within = "0"`))
		for _, src := range everyone() {
			s.send(src, ping)
		}
		for _, x := range s.sources() {
			if x.Unlimited || x.Left <= 23*time.Hour || x.Left > 24*time.Hour {
				t.Errorf("%s has %s left, without end: %v", x.Address, x.Left, x.Unlimited)
			}
		}
	})
}
