package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"knockkit/internal/lab/labtest"
)

// diagnosis is `doctor --json`, as docs/doctor.md promises it.
type diagnosis []struct {
	ID, Severity, Found, Why, Todo string
}

func diagnose(t *testing.T, text string) diagnosis {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.DisallowUnknownFields()
	var d diagnosis
	if err := decoder.Decode(&d); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return d
}

func (d diagnosis) has(id, severity string) bool {
	for _, f := range d {
		if f.ID == id && f.Severity == severity {
			return true
		}
	}
	return false
}

func TestDoctorEndsWithOneWhenSomethingIsBroken(t *testing.T) {
	eachFlavour(t, func(t *testing.T, s *site) {
		s.profile("mysql", mysql)
		s.must("install")
		if out := s.must("doctor"); !strings.HasPrefix(out.Stdout, "SEVERITY  CHECK") || strings.Contains(out.Stdout, "broken") || !strings.HasPrefix(out.Stderr, "knockd: ") {
			t.Errorf("healthy: %s%s", out.Stdout, out.Stderr)
		}
		labtest.MustRun(t, s.host, "", "iptables", "-I", "INPUT", "-p", "tcp", "--dport", "3306", "-j", "ACCEPT")
		out := s.knockd("doctor")
		if out.Code != 1 || !strings.Contains(out.Stdout, "\nbroken    bypass") || !strings.Contains(out.Stdout, "why: who matches that rule") || !strings.Contains(out.Stderr, "2 broken") {
			t.Errorf("exit %d: %s%s", out.Code, out.Stdout, out.Stderr)
		}
		out = s.knockd("doctor", "--json")
		if d := diagnose(t, out.Stdout); out.Code != 1 || out.Stderr != "" || !d.has("bypass", "broken") || !d.has("drift", "broken") || !d.has("backend", "ok") {
			t.Errorf("exit %d: %+v %s", out.Code, d, out.Stderr)
		}
	})
}

func TestDoctorSaysWhatItCouldNotLookAt(t *testing.T) {
	labtest.NeedRoot(t)
	s := newSite(t)
	// Where everybody may run it.
	dir, err := os.MkdirTemp("", "knockd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	copied := filepath.Join(dir, "knockd")
	text, err := os.ReadFile(program(t))
	if err == nil {
		err = os.WriteFile(copied, text, 0o755)
	}
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(copied, "--config", dir, "doctor", "--json")
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	wait := labtest.Start(t, s.host, cmd)
	if err := wait(); err != nil {
		t.Fatalf("%v: %s%s", err, stdout.String(), stderr.String())
	}
	d := diagnose(t, stdout.String())
	if !d.has("unseen", "warning") || d.has("drift", "ok") || d.has("backend", "broken") {
		t.Errorf("%+v", d)
	}
	for _, f := range d {
		if f.ID == "unseen" && f.Todo != "run it as root: sudo knockd doctor" {
			t.Errorf("%+v", f)
		}
	}
}
