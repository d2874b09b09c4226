package doctor_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"knockkit/internal/kernel/backend"
	"knockkit/internal/kernel/iptables/save"
	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
	"knockkit/protocol"
	"knockkit/server"
	"knockkit/server/doctor"
)

// others are tables of nft, each of which drops connections to 3306/tcp.
const others = `table inet a { chain in { type filter hook input priority 10; tcp dport 3306 drop; }; }
table ip b { chain in { type filter hook input priority 11; tcp dport @ports drop; }; set ports { type inet_service; elements = { 3306 }; }; }
table netdev c { chain in { type filter hook ingress device eth0 priority 0; tcp dport 3306 drop; }; }
table bridge d { chain in { type filter hook input priority 0; }; }
`

// shadows is what status says of the rules of others.
func (p *patient) shadows(ctx context.Context, saved ...backend.Saved) (certain []server.Reason, err error) {
	p.t.Helper()
	return certain, p.host.Do(func() error {
		network, err := server.ReadNetwork(p.files)
		if err != nil {
			return err
		}
		certain, _, err = doctor.Shadows(ctx, doctor.ShadowInput{Backend: p.settings.Backend, Profiles: p.files, Network: network, Saved: saved})
		return err
	})
}

// TestTheCloseKnockIsNotCountedAsOneOfTheSequence in words that say how many knocks, not which.
func TestTheCloseKnockIsNotCountedAsOneOfTheSequence(t *testing.T) {
	p := admit(t, "iptables")
	p.install(mysql(t, "close = \"9003/tcp\"\n"))
	for _, c := range []struct{ name, rules, found, why string }{
		{"all", "chain in { type filter hook input priority filter; policy drop; tcp dport { 22, 3306 } accept; }",
			"hears 4 of its knocks (the close knock included) only while our rules are in front of", "both have the same priority"},
		{"the close knock", "chain in { type filter hook input priority -10; tcp dport 9003 drop; }",
			"does not hear its close knock, dropped before our rules by", "nobody can give a lease back"},
		{"one of the sequence", "chain in { type filter hook input priority -10; tcp dport 7421 drop; }",
			"does not hear 1 of its knocks, dropped before our rules by", "the sequence cannot be completed: nobody gets in"},
	} {
		p.nft("table inet firewall { " + c.rules + "; }")
		certain, err := p.shadows(t.Context())
		if err != nil || len(certain) != 1 || !strings.Contains(certain[0].Found, c.found) || !strings.HasPrefix(certain[0].Why, c.why) {
			t.Errorf("%s: %v, %+v", c.name, err, certain)
		}
		p.nft("delete table inet firewall")
	}
}

// tools puts scripts in front of the tools of those names.
func tools(t *testing.T, dir, text string, names ...string) {
	t.Helper()
	for _, name := range names {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

func TestSeveralTablesOfNFTAreReadWithOneProcessWhereItCan(t *testing.T) {
	for _, c := range []struct {
		name string
		more string // in front of nft, in sh
		runs int
	}{
		{"as it is", "", 1},
		{"without its interactive mode", `case "$*" in *-i*) exit 1;; esac`, 4},
		{"with a prompt", `case "$*" in *-i*) printf 'nft> ';; esac`, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := admit(t, "iptables")
			p.install(mysql(t, ""))
			p.nft(others)
			nft, err := exec.LookPath("nft")
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			t.Setenv("HOME", dir)
			tools(t, dir, fmt.Sprintf("echo >> %s/runs\n%s\nexec %s \"$@\"", dir, c.more, nft), "nft")
			found, err := p.shadows(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, table := range []string{"inet a", "ip b", "netdev c"} {
				if !slices.ContainsFunc(found, func(r server.Reason) bool { return strings.Contains(r.Found, "table "+table+" (nft)") }) {
					t.Errorf("table %s is not found to drop: %v", table, found)
				}
			}
			runs, err := os.ReadFile(filepath.Join(dir, "runs"))
			if err != nil || len(runs) != c.runs {
				t.Errorf("nft was run %d times, not %d: %v", len(runs), c.runs, err)
			}
			if _, err := os.Stat(filepath.Join(dir, ".nft.history")); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("it wrote into the history of what a person types: %v", err)
			}
		})
	}
}

// TestTablesThatAnInstallHasMadeAreNotReadAsThoseOfOthers: with hundreds of profiles that
// would take minutes.
func TestTablesThatAnInstallHasMadeAreNotReadAsThoseOfOthers(t *testing.T) {
	use(t, lab.Flavours()[0])
	p := admit(t, "iptables")
	p.install(mysql(t, "place = \"prerouting\"\n"))
	p.nft("table ip b { chain in { type filter hook input priority 11; tcp dport 3306 drop; }; }")
	nft, err := exec.LookPath("nft")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	tools(t, dir, fmt.Sprintf("echo \"$*\" >> %s/runs\nexec %s \"$@\"", dir, nft), "nft")
	before := []backend.Saved{{Tool: "iptables-nft", Family: protocol.IPv4}, {Tool: "iptables-nft", Family: protocol.IPv6}}
	found, err := p.shadows(t.Context(), before...)
	if err != nil || len(found) != 1 || !strings.Contains(found[0].Found, "table ip b (nft)") {
		t.Errorf("shadows: %v %v", found, err)
	}
	if runs, err := os.ReadFile(filepath.Join(dir, "runs")); err != nil || string(runs) != "-j list table ip b\n" {
		t.Errorf("nft was run so: %q %v", runs, err)
	}
}

// TestWhatNobodyLookedAtIsNotSaidToBeOpen: rules that could not be read may close a port.
func TestWhatNobodyLookedAtIsNotSaidToBeOpen(t *testing.T) {
	p := admit(t, "iptables")
	p.install(mysql(t, "closed = \"continue\"\n"))
	p.finds(doctor.IDNoGate, doctor.Broken, "3306/tcp of profile mysql is open to all")
	p.nft("table inet a { chain in { type filter hook input priority 10; policy drop; }; }")
	p.findsNo(doctor.IDNoGate)
	tools(t, t.TempDir(), "exit 1", "nft")
	p.found = nil
	p.finds(doctor.IDUnseen, doctor.Warning, "the rules of nftables")
	p.findsNo(doctor.IDNoGate)
}

func TestTheEndOfAContextIsSaidAsSuch(t *testing.T) {
	p := admit(t, "iptables")
	p.install(mysql(t, "closed = \"continue\"\n"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.host.Do(func() error {
		_, err := doctor.Examine(ctx, doctor.Input{Settings: p.settings, Files: p.files})
		return err
	}); !errors.Is(err, context.Canceled) {
		t.Errorf("doctor: %v", err)
	}
	if found, err := p.shadows(ctx); len(found) > 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("shadows: %v %v", found, err)
	}
	if found, err := p.shadows(t.Context()); err != nil || len(found) != 1 || found[0].Profile != "mysql" {
		t.Errorf("shadows: %v %v", found, err)
	}
}

func TestWhatTheBackendHasReadIsNotReadAgain(t *testing.T) {
	for _, flavour := range lab.Flavours() {
		t.Run(flavour.Name, func(t *testing.T) {
			use(t, flavour)
			p := admit(t, "iptables")
			p.install(mysql(t, ""))
			p.sh("iptables -I INPUT -p tcp --dport 3306 -j ACCEPT", "ip6tables -I INPUT -p tcp --dport 3306 -j ACCEPT")
			want, err := p.shadows(t.Context())
			if err != nil || len(want) != 2 {
				t.Fatalf("%v, %v", want, err)
			}
			var saved []backend.Saved
			for _, family := range protocol.Families() {
				name := map[protocol.Family]string{protocol.IPv4: "iptables-save", protocol.IPv6: "ip6tables-save"}[family]
				tables, err := save.Parse(labtest.MustRun(t, p.host, "", name))
				if err != nil {
					t.Fatal(err)
				}
				saved = append(saved, backend.Saved{Tool: flavour.Name, Family: family, Tables: tables})
			}
			dir := t.TempDir()
			tools(t, dir, "echo $0 >> "+dir+"/runs", every...)
			if got, err := p.shadows(t.Context(), saved...); err != nil || !slices.Equal(got, want) {
				t.Errorf("%v, not %v: %v", got, want, err)
			}
			if runs, err := os.ReadFile(filepath.Join(dir, "runs")); err == nil {
				t.Errorf("these were run: %s", runs)
			}
		})
	}
}

// every are the tools that list rules.
var every = []string{"nft", "iptables-nft-save", "ip6tables-nft-save", "iptables-legacy-save", "ip6tables-legacy-save"}

// TestNoToolRunsWhereOthersHaveNoRules: ours are read by the backend.
func TestNoToolRunsWhereOthersHaveNoRules(t *testing.T) {
	p := admit(t, "nftables")
	p.install(mysql(t, ""))
	dir := t.TempDir()
	tools(t, dir, "echo $0 >> "+dir+"/runs", every...)
	if _, err := p.shadows(t.Context()); err != nil {
		t.Fatal(err)
	}
	if runs, err := os.ReadFile(filepath.Join(dir, "runs")); err == nil {
		t.Errorf("these were run: %s", runs)
	}
}
