package docs

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"knockkit/internal/kernel/iptables"
	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
)

// runners says which test runs the commands of a page. A page with commands that is
// not here fails.
var runners = map[string]string{
	"README.md":               "TestTheCommandsOfTheREADMEDoWhatItSays",
	"docs/getting-started.md": "TestTheStepsOfGettingStartedOpenAndCloseThePort",
	"docs/moving-in.md":       "TestTheStepsOfMovingInLeadFromOneDaemonToTheOtherAndBack",
	"docs/service.md":         "TestTheCommandOfTheServicePageRunsTheService",
	"docs/service-unit.md":    "TestTheUnitIsEnabledByTheCommandsOfItsPage",
	"docs/doctor.md":          "TestTheCommandsOfTheDoctorsPageAreRight",
	"docs/commands.md":        "TestThePageOfCommands",
	"docs/coexistence.md":     "TestEveryBlockOfThePageIsUsed",
	"docs/deploy-jobs.md":     "TestTheCodeOfThePageOnDeployJobsRuns",
	"docs/packages.md":        "TestPackages",
	"docs/recipes.md":         "TestEachRecipeIsTried",
	"docs/signed.md":          "TestTheStepsOfThePageOfSignedProfilesLeadToOneWhoMayKnock",
}

func TestNoPageHasCommandsThatNobodyRuns(t *testing.T) {
	pages, err := filepath.Glob(root + "/docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	tests := allTests(t)
	for _, file := range append(pages, root+"/README.md") {
		page, err := filepath.Rel(root, file)
		if err != nil {
			t.Fatal(err)
		}
		all, open := Blocks(read(t, file))
		if open {
			t.Errorf("%s: a fence is not closed", page)
		}
		for _, b := range all {
			if b.Language == "" {
				t.Errorf("%s: a block has no language: %q", page, strings.SplitN(b.Text, "\n", 2)[0])
			}
			if (b.Language == "sh" || b.Language == "make" || b.Language == "yaml") && runners[page] == "" {
				t.Errorf("%s: nobody runs %q", page, strings.SplitN(b.Text, "\n", 2)[0])
			}
		}
		if runner := runners[page]; runner != "" && !strings.Contains(tests, "func "+runner+"(") {
			t.Errorf("%s: there is no test %s", page, runner)
		}
	}
}

// allTests is the text of all test files of the project.
func allTests(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, "_test.go") {
			all.WriteString(read(t, path))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}

// installed is a reader who has the programs on both machines.
func installed(t *testing.T) *reader {
	t.Helper()
	labtest.NeedRoot(t)
	labtest.Need(t, "iptables", "make", "bash")
	r := newReader(t)
	r.greet()
	r.run(r.laptop, Block{Text: "make build\nsudo make install\n"})
	return r
}

// TestTheStepsOfGettingStartedOpenAndCloseThePort types each block where it says, and
// then looks whether the laptop gets to MySQL.
func TestTheStepsOfGettingStartedOpenAndCloseThePort(t *testing.T) {
	r := installed(t)
	places := map[string]*lab.Host{"server": r.server, "laptop": r.laptop}
	n := 0
	for _, b := range only(blocks(t, "docs/getting-started.md", "sh"), "sh") {
		place, answer, _ := strings.Cut(b.About, " ")
		if places[place] == nil || answer != "open" && answer != "closed" {
			t.Fatalf("a block is for %q, which is no machine, or says nothing of the port:\n%s", b.About, b.Text)
		}
		said := r.run(places[place], b)
		if got := r.reaches(); got != (answer == "open") {
			t.Errorf("after these commands MySQL answers the laptop: %v, and the page says %q\n%s\n%s", got, answer, b.Text, said)
		}
		n++
	}
	if n < 8 {
		t.Errorf("some blocks are lost: there are %d", n)
	}
	if rules := labtest.MustRun(t, r.server, "", "iptables-save"); strings.Contains(rules, "KNOCKD") {
		t.Errorf("at the end the server has still these rules:\n%s", rules)
	}
}

func TestTheCommandOfTheServicePageRunsTheService(t *testing.T) {
	r := installed(t)
	r.run(r.server, Block{Text: "sudo knockd profile new mysql\n"})
	commands := only(blocks(t, "docs/service.md", "sh", "text"), "sh")
	if len(commands) != 1 || commands[0].About != "server" {
		t.Fatalf("the page has these commands: %v", commands)
	}
	var said bytes.Buffer
	cmd := r.command(commands[0])
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	wait := labtest.Start(t, r.server, cmd)
	labtest.Eventually(t, 20*time.Second, func() error {
		if r.reaches() {
			return fmt.Errorf("MySQL still answers")
		}
		return nil
	})
	if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_ = wait() // the shell's own end is that of a signal
	if rules := labtest.MustRun(t, r.server, "", "iptables-save"); !strings.Contains(rules, "KNOCKD") {
		t.Errorf("the rules have gone with the service:\n%s", said.String())
	}
}

// TestTheUnitIsEnabledByTheCommandsOfItsPage has the real systemctl work on a folder,
// as no systemd runs where tests do; the test of the packages boots one.
func TestTheUnitIsEnabledByTheCommandsOfItsPage(t *testing.T) {
	r := installed(t)
	labtest.Need(t, "systemctl")
	real, err := exec.LookPath("systemctl")
	if err != nil {
		t.Fatal(err)
	}
	r.stub("systemctl", fmt.Sprintf(`case "$*" in "enable --now "*) exec %s --root=%s enable "$3" ;; *) exit 9 ;; esac`, real, r.dir))
	for _, b := range only(blocks(t, "docs/service-unit.md", "sh", "ini"), "sh") {
		r.run(r.server, b)
	}
	links, err := filepath.Glob(filepath.Join(r.dir, "etc/systemd/system/*.wants/knockd.service"))
	if err != nil || len(links) != 1 {
		t.Fatalf("the unit is enabled by %v (%v)", links, err)
	}
	// It is what `make install` has put there, but for the folder of the test.
	const unit = "/usr/local/lib/systemd/system/knockd.service"
	if to, err := os.Readlink(links[0]); err != nil || to != unit {
		t.Errorf("what is enabled is %s (%v), want %s", to, err, unit)
	}
}

func TestTheCommandsOfTheDoctorsPageAreRight(t *testing.T) {
	r := installed(t)
	modprobe := filepath.Join(r.dir, "etc/modprobe.d")
	if err := os.MkdirAll(modprobe, 0o755); err != nil {
		t.Fatal(err)
	}
	r.run(r.server, Block{Text: "sudo knockd profile new mysql\nsudo knockd install mysql\n"}) // xt_recent is loaded then
	for _, b := range only(blocks(t, "docs/doctor.md", "sh"), "sh") {
		b.Text = strings.ReplaceAll(b.Text, "/etc/modprobe.d", modprobe)
		said := strings.TrimSpace(r.run(r.server, b))
		if strings.Contains(b.Text, "ip_list_tot") && (said == "" || strings.Trim(said, "0123456789") != "") {
			t.Errorf("the module's limit is %q", said)
		}
	}
	if rules := r.run(r.server, Block{Text: "iptables -S INPUT\n"}); !strings.HasSuffix(rules, "-A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT\n") {
		t.Errorf("the line for what is established has made\n%s", rules)
	}
	if text, want := read(t, modprobe+"/knockd.conf"), fmt.Sprintf("options xt_recent ip_list_tot=%d\n", iptables.TableSize); text != want {
		t.Errorf("modprobe would read %q, want %q", text, want)
	}
}
