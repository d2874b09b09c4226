package doctor_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"knockkit/internal/kernel/iptables"
	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
	"knockkit/protocol"
	"knockkit/server/doctor"
)

func TestBothFlavoursOfIptablesAreFound(t *testing.T) {
	p := admit(t, "iptables")
	use(t, lab.Flavours()[0])
	p.install(mysql(t, ""))
	p.findsNo(doctor.IDFlavours)
	p.sh("iptables-legacy -A INPUT -p tcp --dport 22 -j ACCEPT")
	p.finds(doctor.IDFlavours, doctor.Warning, "iptables-nft and iptables-legacy both have rules")
	p.findsNo(doctor.IDDropped)
	p.sh("iptables-legacy -P INPUT DROP")
	p.finds(doctor.IDDropped, doctor.Broken, "the policy of chain INPUT of table filter (iptables-legacy, ipv4)")
}

// TestLegacyTablesAreNotLoadedByLooking: the tool loads what it is asked to show.
func TestLegacyTablesAreNotLoadedByLooking(t *testing.T) {
	p := admit(t, "nftables")
	p.install(mysql(t, ""))
	p.examine()
	if names := labtest.MustRun(t, p.host, "", "cat", "/proc/net/ip_tables_names"); names != "" {
		t.Errorf("loaded: %q", names)
	}
}

func TestARuleOfOthersThatLeadsIntoOurChainsIsFound(t *testing.T) {
	p := admit(t, "iptables")
	p.install(mysql(t, ""))
	p.sh("iptables -A INPUT -p tcp --dport 9999 -j KNOCKD-ENTER-mysql.2")
	p.finds(doctor.IDForeignJump, doctor.Broken, "-A INPUT -p tcp -m tcp --dport 9999 -j KNOCKD-ENTER-mysql.2")
}

func TestRulesThatAnotherToolChangedAreFound(t *testing.T) {
	t.Run("flushed", func(t *testing.T) {
		p := admit(t, "iptables")
		p.install(mysql(t, ""))
		p.sh("iptables -F INPUT")
		p.finds(doctor.IDDrift, doctor.Broken, "ipv4: INPUT does not jump to KNOCKD")
	})
	t.Run("a rule more, with nftables", func(t *testing.T) {
		p := admit(t, "nftables")
		p.install(mysql(t, ""))
		p.nft("insert rule inet knockd input accept")
		p.finds(doctor.IDDrift, doctor.Broken, "chain input")
	})
}

func TestFilesAndKernelThatDifferAreFound(t *testing.T) {
	p := admit(t, "iptables")
	p.install(mysql(t, ""), profile(t, "web", "sequence = [\"7431/tcp\", \"3191/udp\", \"9002/tcp\"]\nopen = [\"80/tcp\"]\n"))
	p.found = nil
	p.files = []*protocol.Profile{
		mysql(t, "lease = \"2h\"\n"),
		profile(t, "ssh", "sequence = [\"7441/tcp\", \"3192/udp\", \"9004/tcp\"]\nopen = [\"22/tcp\"]\n"),
		profile(t, "off", "enabled = false\nsequence = [\"7451/tcp\", \"3193/udp\", \"9006/tcp\"]\nopen = [\"25/tcp\"]\n"),
	}
	p.finds(doctor.IDInstalled, doctor.Broken, "profile mysql was edited")
	p.finds(doctor.IDInstalled, doctor.Broken, "profile ssh is enabled and not installed")
	p.finds(doctor.IDInstalled, doctor.Note, "profile web is installed and has no file")
	p.finds(doctor.IDInstalled, doctor.OK, "profiles installed with iptables: 2")
}

func TestAHostWithoutAnyProfileIsToldThatNothingIsGated(t *testing.T) {
	p := admit(t, "iptables")
	p.files = []*protocol.Profile{profile(t, "off", "enabled = false\nsequence = [\"7451/tcp\", \"3193/udp\", \"9006/tcp\"]\nopen = [\"25/tcp\"]\n")}
	p.finds(doctor.IDInstalled, doctor.Note, "no profile is installed, and none is enabled")
	p.install(mysql(t, ""))
	for _, f := range p.examine() {
		if strings.Contains(f.Found, "none is enabled") {
			t.Errorf("%+v", f)
		}
	}
}

// TestTablesThatAreSmallAndFullAreFound fills a real table to the limit that the
// kernel was started with.
func TestTablesThatAreSmallAndFullAreFound(t *testing.T) {
	p := admit(t, "iptables")
	limit, err := iptables.TableLimit()
	if err != nil {
		t.Fatal(err)
	}
	p.install(mysql(t, ""))
	severity := doctor.Warning
	if limit >= 1000 {
		severity = doctor.OK
	}
	p.finds(doctor.IDTableSize, severity, fmt.Sprintf("%d addresses", limit))
	p.findsNo(doctor.IDTableFull)
	const table = "mysql.1.KNOCKD4"
	if err := p.host.Do(func() error {
		for i := range limit {
			entry := fmt.Sprintf("+%s\n", lab.ForgedAddr4(i+1))
			if err := os.WriteFile("/proc/thread-self/net/xt_recent/"+table, []byte(entry), 0); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	p.found = nil
	p.finds(doctor.IDTableFull, doctor.Warning, table)
}

func TestTheReversePathFilterIsJudged(t *testing.T) {
	p := admit(t, "iptables")
	p.install(mysql(t, ""))
	p.finds(doctor.IDReversePath, doctor.Note, "off on eth0")
	set := func(name, value string) {
		t.Helper()
		p.found = nil
		if err := p.host.Sysctl("ipv4/conf/"+name+"/rp_filter", value); err != nil {
			t.Fatal(err)
		}
	}
	set("all", "1")
	p.findsNo(doctor.IDReversePath) // there is no other way in
	p.found = nil
	labtest.Join(t, p.host, labtest.NewHost(t, "other"))
	p.finds(doctor.IDReversePath, doctor.Warning, "strict on eth0, eth1")
	set("all", "2")
	p.findsNo(doctor.IDReversePath)
	set("all", "0")
	set("eth1", "2")
	p.settings.Policy.Ban = &protocol.Ban{After: 3, For: time.Minute}
	p.install(mysql(t, ""))
	p.finds(doctor.IDReversePath, doctor.Warning, "off on eth0")
}

func TestABackendThatLacksSomethingIsFound(t *testing.T) {
	all := os.Getenv("PATH")
	t.Run("its tool", func(t *testing.T) {
		p := admit(t, "iptables")
		t.Setenv("PATH", without(t, "iptables-restore"))
		p.finds(doctor.IDBackend, doctor.Broken, "backend iptables does not work: iptables-restore is not installed")
		p.finds(doctor.IDBackend, doctor.OK, "backend nftables works")
		p.settings.Backend, p.found = "nftables", nil
		p.finds(doctor.IDBackend, doctor.Note, "backend iptables does not work")
	})
	// No kernel without the match is at hand: the tool says what it says on one, and a
	// link in the chain of rules that the kernel refuses is one as any other.
	t.Run("a match of the kernel", func(t *testing.T) {
		p := admit(t, "iptables")
		dir := t.TempDir()
		script := "#!/bin/sh\necho 'iptables-restore: line 2 failed: Extension recent revision 0 not supported, missing kernel module?' >&2\nexit 1\n"
		if err := os.WriteFile(filepath.Join(dir, "iptables-restore"), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
		t.Setenv("PATH", dir+":"+all)
		p.finds(doctor.IDBackend, doctor.Broken, "backend iptables does not work", "missing kernel module?")
	})
	t.Run("both", func(t *testing.T) {
		p := admit(t, "auto")
		t.Setenv("PATH", without(t, "iptables-restore", "nft"))
		p.finds(doctor.IDBackend, doctor.Broken, "no backend works")
	})
}

// without returns a PATH that has the tools of the host but some.
func without(t *testing.T, tools ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, tool := range []string{"iptables", "ip6tables", "iptables-save", "ip6tables-save", "iptables-restore", "ip6tables-restore", "nft"} {
		path, err := lab.FindTool(tool)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(" "+strings.Join(tools, " ")+" ", " "+tool+" ") {
			if err := os.Symlink(path, filepath.Join(dir, tool)); err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir
}
