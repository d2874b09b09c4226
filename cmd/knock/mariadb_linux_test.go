package main

import (
	"context"
	"fmt"
	"net/netip"
	"testing"

	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
	"knockkit/protocol"
	"knockkit/protocol/format"
	"knockkit/server"
)

// TestARealMariaDBIsReachedByTheHostThatKnockedOnly has the article's sequence in
// front of the article's service.
func TestARealMariaDBIsReachedByTheHostThatKnockedOnly(t *testing.T) {
	labtest.NeedRoot(t)
	labtest.Need(t, "iptables-restore", "nft")
	host, client, other := labtest.NewHost(t, "db1"), labtest.NewHost(t, "client"), labtest.NewHost(t, "other")
	labtest.Network(t, host, client, other)
	db := labtest.MariaDB(t, host)
	laptop := newLaptop(t, client, map[string]string{"mysql": mysqlProfile})
	ask := []string{"mariadb", "--no-defaults", "--connect-timeout=1", "--user=" + db.User, "--password=" + db.Password,
		"--skip-column-names", "--execute=select 6*7"}
	for _, backend := range []string{"iptables", "nftables"} {
		for _, addr := range []netip.Addr{host.Addr4, host.Addr6} {
			t.Run(fmt.Sprintf("%s over %s", backend, protocol.FamilyOf(addr)), func(t *testing.T) {
				gate(t, host, backend)
				ask := append(ask[:len(ask):len(ask)], "--host="+addr.String())
				query := func(from *lab.Host) lab.Output { return labtest.Run(t, from, "", ask[0], ask[1:]...) }
				if out := query(client); out.Code == 0 {
					t.Fatal("MariaDB answers before the knock")
				}
				p, code := laptop.run(append([]string{"mysql@" + addr.String(), "--"}, ask...)...)
				if code != 0 || p.stdout.String() != "42\n" {
					t.Errorf("exit status %d, stdout %q, stderr:\n%s", code, p.stdout, p.stderr)
				}
				if out := query(client); out.Code != 0 {
					t.Errorf("a second connection while the lease lasts: %s", out.Stderr)
				}
				if out := query(other); out.Code == 0 {
					t.Error("MariaDB answers a host that did not knock")
				}
			})
		}
	}
}

// gate closes MariaDB's port on the host until the test ends.
func gate(t *testing.T, host *lab.Host, backend string) {
	t.Helper()
	profile, problems := format.ParseProfile("mysql.toml", []byte(mysqlProfile))
	if problems.HasErrors() {
		t.Fatal(problems)
	}
	b, _, err := server.OpenBackend(t.Context(), backend)
	if err != nil {
		t.Fatal(err)
	}
	s := server.New(b, server.DefaultSettings())
	if err := host.Do(func() error {
		_, err := s.Install(t.Context(), []*protocol.Profile{profile}, server.InstallOptions{})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := host.Do(func() error {
			_, err := s.Remove(context.Background(), nil) // the test's own has ended
			return err
		}); err != nil {
			t.Error(err)
		}
	})
}
