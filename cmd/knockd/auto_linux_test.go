package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"knockkit/internal/lab/labtest"
)

// asker is who runs knockd: what is put in front of its command line.
type asker struct {
	name string
	with []string
}

// askers see the same host with different eyes.
func askers() []asker {
	return []asker{
		{"root", nil},
		{"root that may not load modules", []string{"setpriv", "--bounding-set=-sys_module", "--inh-caps=-sys_module"}},
		{"root that sees no modules", []string{"unshare", "--mount", "--propagation=private", "sh", "-c", `mount -t tmpfs none /sys/module && exec "$0" "$@"`}},
	}
}

// TestWhoeverInstallsAndWhoeverGrantsTheBackendIsOne lets each install on a host of its
// own, and each grant and install there.
func TestWhoeverInstallsAndWhoeverGrantsTheBackendIsOne(t *testing.T) {
	eachAuto(t, func(t *testing.T, s *site, backend string) {
		s.profile("mysql", mysql)
		for _, installs := range askers() {
			for _, grants := range askers() {
				t.Run(installs.name+", then "+grants.name, func(t *testing.T) {
					s.t = t
					s.as(installs, "install")
					s.as(grants, "grant", "mysql", "10.9.0.1")
					s.isOn(backend, grants)
					s.isOn(backend, installs)
					s.as(grants, "install")
					s.isOn(backend, installs)
					s.as(grants, "revoke", "mysql", "10.9.0.1") // it has been the same lease throughout
					s.as(installs, "remove", "--all")
				})
			}
		}
	})
}

// TestWhatIsLiveStaysWhereItIsWhoeverAsks: also where "auto" would take the other backend.
func TestWhatIsLiveStaysWhereItIsWhoeverAsks(t *testing.T) {
	eachAuto(t, func(t *testing.T, s *site, _ string) {
		s.settings("backend = \"nftables\"\n")
		s.profile("mysql", mysql)
		s.must("install")
		s.settings("backend = \"auto\"\n")
		for _, who := range askers() {
			s.as(who, "install")
			s.as(who, "grant", "mysql", "10.9.0.1")
			s.isOn("nftables", who)
		}
	})
}

// TestASignedProfileIsInstalledWithNftables: "auto" takes it where nothing is installed, and says why.
// What is installed with iptables stays there until the settings name nftables.
func TestASignedProfileIsInstalledWithNftables(t *testing.T) {
	labtest.NeedRoot(t)
	labtest.Need(t, "nft")
	const admin = "signed = { carrier = \"icmp\" }\nopen = [\"2222/tcp\"]\n"
	expect := func(t *testing.T, s *site, code int, said string, args ...string) {
		t.Helper()
		if out := s.knockd(args...); out.Code != code || !strings.Contains(out.Stderr, said) {
			t.Errorf("%v: exit %d, not %d with %q:\n%s", args, out.Code, code, said, out.Stderr)
		}
	}
	atOnce(t, func(t *testing.T, s *site) {
		s.settings("backend = \"auto\"\n")
		s.profile("mysql", mysql)
		s.profile("admin", admin)
		expect(t, s, 0, "backend nftables: profile admin is signed, and iptables cannot check tokens", "install", "mysql")
		s.must("install")
		s.must("remove", "--all")
		s.settings("backend = \"iptables\"\n")
		expect(t, s, 2, "set backend = \"nftables\" in knockd.toml", "install")
		s.must("install", "mysql")
		s.settings("backend = \"auto\"\n")
		expect(t, s, 2, "profile admin is signed: the kernel can check tokens with nftables only", "install")
		s.must("grant", "mysql", "10.9.0.1")
		s.settings("backend = \"nftables\"\n")
		expect(t, s, 0, "moved here from backend iptables, with its leases", "install")
		if out := s.must("status", "--check").Stdout; !strings.Contains(narrow(out), "mysql installed nftables 3306/tcp 1h 1 open, 0 knocking") {
			t.Errorf("the lease did not move:\n%s", out)
		}
	})
}

// eachAuto runs a test where "auto" takes iptables of either flavour, and where there is
// none to take.
func eachAuto(t *testing.T, f func(t *testing.T, s *site, backend string)) {
	labtest.NeedRoot(t)
	labtest.Need(t, "setpriv", "unshare", "mount")
	atOnce(t, func(t *testing.T, s *site) {
		backend := "iptables"
		if strings.HasSuffix(t.Name(), "/nftables") {
			backend, s.env = "nftables", []string{"PATH=" + withoutIPTables(t)}
		}
		s.settings("backend = \"auto\"\n")
		f(t, s, backend)
	})
}

// withoutIPTables is the PATH of a host on which iptables is not installed.
func withoutIPTables(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"nft", "setpriv", "unshare", "sh", "mount", "modprobe"} {
		path, err := exec.LookPath(name)
		if err != nil {
			continue // modprobe: a host without it loads no module
		}
		if err := os.Symlink(path, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// as lets somebody run the program, and fails unless it ends well.
func (s *site) as(who asker, args ...string) (said string) {
	s.t.Helper()
	words := append(append([]string{}, who.with...), program(s.t), "--config", s.config)
	words = append(words, args...)
	out := s.try("", words[0], words[1:]...)
	if out.Code != 0 {
		s.t.Fatalf("%s: knockd %s: exit %d\n%s%s", who.name, strings.Join(args, " "), out.Code, out.Stdout, out.Stderr)
	}
	return out.Stdout
}

// isOn fails unless status says that mysql is in force on that backend, with a lease,
// and the kernel has nothing of the other's.
func (s *site) isOn(backend string, who asker) {
	s.t.Helper()
	out := s.as(who, "status", "--check")
	if row := "mysql installed " + backend + " 3306/tcp 1h 1 open, 0 knocking"; !strings.Contains(narrow(out), row) {
		s.t.Errorf("%s: status does not say %q:\n%s", who.name, row, out)
	}
	if has := strings.Contains(s.try("", "nft", "list", "tables").Stdout, "inet knockd"); has != (backend == "nftables") {
		s.t.Errorf("%s: nft's table is there: %t", who.name, has)
	}
	if has := strings.Contains(s.try("", "iptables-save").Stdout, "KNOCKD"); has != (backend == "iptables") {
		s.t.Errorf("%s: chains of iptables are there: %t", who.name, has)
	}
}
