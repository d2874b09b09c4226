package main

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"knockkit/internal/kernel/iptables"
	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
	"knockkit/protocol"
)

// TestSmallTablesAreSaidWithWhatRaisesThem is about this machine's kernel; the test of the
// packages boots one in which xt_recent is a module.
func TestSmallTablesAreSaidWithWhatRaisesThem(t *testing.T) {
	eachFlavour(t, func(t *testing.T, s *site) {
		s.profile("mysql", mysql)
		s.must("install") // or the module is not there yet
		m, err := iptables.ReadModule(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf("xt_recent remembers %d addresses a table: ", m.Limit)
		raise := fmt.Sprintf("write `options xt_recent ip_list_tot=%d` into /etc/modprobe.d/", iptables.TableSize)
		if m.BuiltIn {
			raise = fmt.Sprintf("put xt_recent.ip_list_tot=%d on the kernel's command line", iptables.TableSize)
		}
		nftables := fmt.Sprintf(`or set backend = "nftables" in %s/knockd.toml: `, s.config)
		for _, args := range [][]string{{"install"}, {"install", "mysql"}, {"doctor"}} {
			out := s.wholly(args...)
			said := out.Stdout + out.Stderr
			if has := strings.Contains(said, want[:len(want)-2]) && strings.Contains(said, raise) && strings.Contains(said, nftables); has != m.Small() || out.Code != 0 {
				t.Errorf("%v with %+v: exit %d, it says\n%s", args, m, out.Code, said)
			}
		}
		short := "knockd: warning: " + want + "see: knockd --config " + s.config + " doctor\n"
		for _, args := range [][]string{{"status"}, {"status", "--json"}} {
			if out := s.wholly(args...); (out.Stderr == short) != m.Small() || out.Code != 0 {
				t.Errorf("%v with %+v: exit %d, it says\n%s", args, m, out.Code, out.Stderr)
			}
		}
		s.must("remove", "--all")
		if out := s.wholly("status"); strings.Contains(out.Stderr, "xt_recent") {
			t.Errorf("status of a host without any profile: %s", out.Stderr)
		}
	})
}

// TestTheServiceLogsSmallTablesOnce, not at each reload.
func TestTheServiceLogsSmallTablesOnce(t *testing.T) {
	eachBackend(t, func(t *testing.T, s *served) {
		service := s.run()
		for n, lease := range []string{"2h", "3h"} {
			s.profile("mysql", articleProfile+"lease = \""+lease+"\"\n")
			s.eventually("a reload", soon, func() bool { return strings.Count(service.log.String(), "msg=reloaded") == n+1 })
		}
		m, err := iptables.ReadModule(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		want := 0
		if m.Small() && s.backend == "iptables" {
			want = 1
		}
		if got := strings.Count(service.log.String(), "addresses a table"); got != want {
			t.Errorf("said %d times, not %d", got, want)
		}
	})
}

func TestEachHostIsToldWhatRaisesItsOwnTables(t *testing.T) {
	for _, c := range []struct {
		module iptables.Module
		small  bool
		want   string
	}{
		{iptables.Module{}, false, "set a larger ip_list_tot"},
		{iptables.Module{Limit: 100, BuiltIn: true}, true, "put xt_recent.ip_list_tot=1000 on the kernel's command line and reboot"},
		{iptables.Module{Limit: 100}, true, "write `options xt_recent ip_list_tot=1000` into /etc/modprobe.d/knockd.conf and reboot"},
		{iptables.Module{Limit: 100, Next: 200}, true, "write `options xt_recent ip_list_tot=1000` into /etc/modprobe.d/knockd.conf and reboot"},
		{iptables.Module{Limit: 100, Next: 1000}, true, "reboot, as it was loaded before modprobe was told ip_list_tot=1000"},
		{iptables.Module{Limit: 1000}, false, "set a larger ip_list_tot"},
	} {
		if got := c.module.Raise(); !strings.HasPrefix(got, c.want) || c.module.Small() != c.small {
			t.Errorf("%+v: small %v, %q, want %q", c.module, c.module.Small(), got, c.want)
		}
	}
}

// fill puts as many addresses into the tables as each holds, and returns the first.
func (s *site) fill(f protocol.Family, tables ...string) netip.Addr {
	s.t.Helper()
	limit, err := iptables.TableLimit()
	if err != nil {
		s.t.Fatal(err)
	}
	for i := range limit {
		for _, table := range tables {
			s.note(table, sourceOf(f, i).String())
		}
	}
	return sourceOf(f, 0)
}

func sourceOf(f protocol.Family, i int) netip.Addr {
	if f == protocol.IPv4 {
		return lab.ForgedAddr4(i + 1)
	}
	return lab.ForgedAddr6(i + 1)
}

func TestAGrantSaysWhoHasLostALeaseForIt(t *testing.T) {
	eachFlavour(t, func(t *testing.T, s *site) {
		s.profile("mysql", mysql)
		s.must("install")
		for _, f := range protocol.Families() {
			suffix := map[protocol.Family]string{protocol.IPv4: ".KNOCKD4", protocol.IPv6: ".KNOCKD6"}[f]
			first := s.fill(f, "mysql.open"+suffix, "holders0"+suffix)
			newcomer := sourceOf(f, 50_000)
			out := s.must("grant", "mysql", newcomer.String())
			if want := "who has lost a lease for it: " + first.String() + " (mysql): "; !strings.Contains(out.Stderr, want) {
				t.Errorf("%s: it says\n%swant %q", f, out.Stderr, want)
			}
			for addr, want := range map[netip.Addr]bool{first: false, sourceOf(f, 1): true, newcomer: true} {
				if got := strings.Contains(s.must("status").Stdout, "\n"+addr.String()+" "); got != want {
					t.Errorf("%s: status lists %s: %v, want %v", f, addr, got, want)
				}
			}
			if out := s.must("grant", "mysql", newcomer.String()); strings.Contains(out.Stderr, "lost") {
				t.Errorf("%s: who has a lease takes nobody's place, and it says\n%s", f, out.Stderr)
			}
		}
	})
}

// TestALeaseThatTheSharedTableHasLostIsNotCalledOpen: the gate asks that table first.
func TestALeaseThatTheSharedTableHasLostIsNotCalledOpen(t *testing.T) {
	eachFlavour(t, func(t *testing.T, s *site) {
		s.profile("mysql", mysql)
		s.must("install")
		for _, f := range protocol.Families() {
			suffix := map[protocol.Family]string{protocol.IPv4: ".KNOCKD4", protocol.IPv6: ".KNOCKD6"}[f]
			holder := sourceOf(f, 60_000)
			s.must("grant", "mysql", holder.String())
			open := func() bool { return strings.Contains(s.must("status").Stdout, holder.String()) }
			if !open() {
				t.Fatalf("%s: the lease is not listed", f)
			}
			s.fill(f, "holders0"+suffix)
			if open() {
				t.Errorf("%s: it was pushed out of the table that the gate asks first, and status calls it open", f)
			}
		}
	})
}

// TestEntriesThatAreOverFillNoTable: xt_recent keeps them, and forgets them first.
func TestEntriesThatAreOverFillNoTable(t *testing.T) {
	eachFlavour(t, func(t *testing.T, s *site) {
		s.profile("mysql", mysql+"lease = \"6s\"\nwithin = \"6s\"\n")
		s.must("install")
		var tables []string
		for _, suffix := range []string{".KNOCKD4", ".KNOCKD6"} {
			tables = append(tables, "mysql.open"+suffix, "holders0"+suffix, "mysql.1"+suffix, "progress"+suffix)
		}
		s.fill(protocol.IPv4, tables[:4]...)
		s.fill(protocol.IPv6, tables[4:]...)
		said := func() string { return s.must("status").Stderr }
		full := said()
		for _, table := range tables {
			if want := fmt.Sprintf("%s (%[2]d of %[2]d)", table, len(s.table(table))); !strings.Contains(full, want) {
				t.Errorf("status does not say %q:\n%s", want, full)
			}
		}
		labtest.Eventually(t, 20*time.Second, func() error {
			if full := said(); strings.Contains(full, "full") {
				return fmt.Errorf("what is over counts: %s", full)
			}
			return nil
		})
		for _, table := range tables[:4] {
			s.note(table, sourceOf(protocol.IPv4, 5).String())
		}
		if full := said(); strings.Contains(full, "full") {
			t.Errorf("one of them counts again, and status says\n%s", full)
		}
	})
}
