package packaging

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"knockkit/internal/lab/labtest"
	"knockkit/server/service"
)

const unitFile = "systemd/knockd.service"

// placed returns the unit in a folder of its own, with a program in the place of
// /usr/sbin/knockd, which need not be installed here.
func placed(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	program := filepath.Join(dir, "knockd")
	if err := os.WriteFile(program, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	unit := strings.Replace(string(read(t, unitFile)), "ExecStart=/usr/sbin/knockd ", "ExecStart="+program+" ", 1)
	// Its page is not installed here either.
	unit = regexp.MustCompile(`(?m)^Documentation=.*$`).ReplaceAllString(unit, "")
	file := filepath.Join(dir, filepath.Base(unitFile))
	if err := os.WriteFile(file, []byte(unit), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

func analyze(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	labtest.Need(t, "systemd-analyze")
	cmd := exec.Command("systemd-analyze", args...)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

func TestSystemdHasNothingToSayAgainstTheUnit(t *testing.T) {
	stdout, stderr, err := analyze(t, "verify", placed(t))
	if err != nil || stdout != "" || stderr != "" {
		t.Errorf("%v\n%s%s", err, stdout, stderr)
	}
}

// exposure is how systemd-analyze sums up: "Overall exposure level for
// knockd.service: 2.2 OK". The documents say which release it is of.
var exposure = regexp.MustCompile(`Overall exposure level for knockd\.service: ([0-9.]+)`)

func TestTheDocumentsSayHowExposedSystemdFindsTheUnit(t *testing.T) {
	stdout, stderr, err := analyze(t, "security", "--offline=yes", "--no-pager", "--threshold=30", placed(t))
	if err != nil {
		t.Fatalf("%v\n%s%s", err, stdout, stderr)
	}
	m := exposure.FindStringSubmatch(stdout)
	if m == nil {
		t.Fatalf("no figure in\n%s", stdout)
	}
	if text := string(read(t, "../docs/service-unit.md")); !strings.Contains(text, "**"+m[1]+"**") {
		t.Errorf("systemd-analyze says %s; docs/service-unit.md has another figure", m[1])
	}
}

// TestTheUnitGivesNoMoreThanItNeeds keeps what was found out by trying: see
// docs/service-unit.md.
func TestTheUnitGivesNoMoreThanItNeeds(t *testing.T) {
	unit := string(read(t, unitFile))
	for _, line := range []string{
		"Type=notify", "ExecStart=/usr/sbin/knockd run", "Before=network-pre.target shutdown.target", "Wants=network-pre.target",
		"CapabilityBoundingSet=CAP_NET_ADMIN CAP_NET_RAW", "NoNewPrivileges=yes", "ProtectSystem=strict",
		"StateDirectory=knockd", "StateDirectoryMode=0700",
	} {
		if !strings.Contains(unit, "\n"+line+"\n") {
			t.Errorf("the unit lacks %s", line)
		}
	}
	if strings.Contains(unit, "ExecStop") {
		t.Error("the unit does something when it stops: the rules are to stay")
	}
}

func TestTheWatchdogWaitsForTheLongestInstall(t *testing.T) {
	m := regexp.MustCompile(`(?m)^WatchdogSec=([0-9]+)$`).FindSubmatch(read(t, unitFile))
	if m == nil {
		t.Fatal("the unit has no watchdog")
	}
	every, err := time.ParseDuration(string(m[1]) + "s")
	if err != nil {
		t.Fatal(err)
	}
	if every <= 2*service.WorkLimit {
		t.Errorf("after %s systemd ends a service that is at work for %s", every, service.WorkLimit)
	}
}
