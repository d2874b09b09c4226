package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"knockkit/internal/command"
	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
	"knockkit/protocol/format"
)

// nobody is a user and group without any privilege.
const nobody = 65534

func TestTheDemoHoldsAsRootAndLeavesTheMachinesOwnRulesAlone(t *testing.T) {
	t.Parallel() // it waits most of the time
	labtest.NeedRoot(t)
	labtest.Need(t, "nft", "iptables-save", "ip6tables-save")
	before := machinesRules(t)
	binary := demoBinary(t)
	for _, backend := range []string{"auto", "nftables"} {
		out, code := demoOf(t, binary, nil, "--backend", backend)
		expectDemo(t, out, code)
	}
	if after := machinesRules(t); after != before {
		t.Errorf("the machine's own rules were\n%s\nand are\n%s", before, after)
	}
}

func TestTheDemoHoldsWithoutRootWhereUserNamespacesAreAllowed(t *testing.T) {
	t.Parallel()        // it waits most of the time
	labtest.NeedRoot(t) // to become nobody: in a user namespace there is nobody else
	var asNobody *syscall.SysProcAttr
	if os.Geteuid() == 0 {
		asNobody = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	out, code := demoOf(t, demoBinary(t), asNobody)
	if code == command.Privilege && os.Getenv("CI") != "true" {
		t.Skipf("no user namespaces here:\n%s", out)
	}
	expectDemo(t, out, code)
}

func TestWithNeitherRootNorUserNamespacesTheDemoSaysWhatIsMissing(t *testing.T) {
	labtest.NeedRoot(t)
	labtest.Need(t, "unshare", "setpriv")
	// A user namespace whose root may make no other, and then gives up what it may.
	cmd := exec.CommandContext(t.Context(), "unshare", "--user", "--map-root-user", "sh", "-c",
		`echo 0 > /proc/sys/user/max_user_namespaces; exec setpriv --bounding-set=-all --inh-caps=-all "$0" demo`, demoBinary(t))
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != command.Privilege {
		t.Errorf("%v, want exit code 4:\n%s", err, out)
	}
	for _, want := range []string{
		"error: this machine allows neither root nor user namespaces: ",
		"hint: run it as root: sudo knockd demo\n",
		"hint: or allow user namespaces: sudo sysctl user.max_user_namespaces=1000\n",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("does not say %q:\n%s", want, out)
		}
	}
}

// TestADemoInWhichThePortStaysOpenFails lets the demo run with an iptables-restore
// that takes every rule and installs none.
func TestADemoInWhichThePortStaysOpenFails(t *testing.T) {
	labtest.NeedRoot(t)
	dir := t.TempDir()
	for _, tool := range []string{"iptables-restore", "ip6tables-restore"} {
		if err := os.WriteFile(filepath.Join(dir, tool), []byte("#!/bin/sh\ncat > /dev/null\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	binary := demoBinary(t)
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	out, code := demoOf(t, binary, nil)
	if code != command.Failed || !strings.Contains(out, "✗ MySQL does not answer the laptop any more") {
		t.Errorf("exit code %d, want 1 and a ✗:\n%s", code, out)
	}
}

func TestOneCheckThatDoesNotHoldMakesTheDemoFail(t *testing.T) {
	var out bytes.Buffer
	n := newNarrator(t.Context(), &out)
	n.step("one")
	n.check(true, "this holds")
	n.check(false, "this does not")
	err := n.end()
	var e *command.Error
	if !errors.As(err, &e) || e.Code != command.Failed || err.Error() != "1 of 2 things is not as it should be" {
		t.Errorf("error %v", err)
	}
	if want := "1. one\n   ✓ this holds\n   ✗ this does not\n\n"; out.String() != want {
		t.Errorf("told %q, want %q", out.String(), want)
	}
}

func TestTheDemosProfileIsTheExample(t *testing.T) {
	text, err := os.ReadFile("../../examples/mysql.toml")
	if err != nil {
		t.Fatal(err)
	}
	canonical := func(text string) string {
		p, diagnostics := format.ParseProfile("mysql.toml", []byte(text))
		if diagnostics.HasErrors() {
			t.Fatal(diagnostics)
		}
		p.Hosts, p.Description = nil, "" // what the client shows and asks
		return format.Canonical(p)
	}
	if demo, example := canonical(demoProfile), canonical(string(text)); demo != example {
		t.Errorf("the demo shows\n%s\nand the example is\n%s", demo, example)
	}
}

func TestTheDemoSaysWhichSettingForbidsUserNamespaces(t *testing.T) {
	for _, c := range []struct{ name, setting, value, want string }{
		{"Debian's switch", "kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone=1"},
		{"AppArmor", "kernel/apparmor_restrict_unprivileged_userns", "1", "kernel.apparmor_restrict_unprivileged_userns=0"},
		{"a limit of none", "user/max_user_namespaces", "0", "user.max_user_namespaces=1000"},
		{"nothing of these", "", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			hint := namespaceHint(func(name string) string {
				if name == c.setting {
					return c.value
				}
				return ""
			})
			lines := strings.Split(hint, "\n")[1:] // the first is about root
			var want []string
			if c.want != "" {
				want = []string{"or allow user namespaces: sudo sysctl " + c.want}
			}
			if !slices.Equal(lines, want) {
				t.Errorf("hints %q, want %q", lines, want)
			}
		})
	}
}

// demoBinary builds the program where everybody may run it.
func demoBinary(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	binary := filepath.Join(dir, "knockd")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", binary, ".")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return binary
}

// demoOf runs the demo to its end and returns all that it says.
func demoOf(t *testing.T, binary string, attr *syscall.SysProcAttr, flags ...string) (string, int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, append([]string{"demo"}, flags...)...)
	cmd.Dir = "/" // which everybody may enter
	cmd.SysProcAttr = attr
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

func expectDemo(t *testing.T, out string, code int) {
	t.Helper()
	if code != command.Done || strings.Contains(out, "✗") || !strings.Contains(out, "as they should be") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
	for _, h := range []string{"the stranger stays out", "it does not open", "MySQL greets the laptop over IPv6"} {
		if !strings.Contains(out, "✓ "+h+"\n") {
			t.Errorf("does not show that %q:\n%s", h, out)
		}
	}
}

var counters = regexp.MustCompile(`\[\d+:\d+\]|packets \d+ bytes \d+|# (Generated|Completed) .*`)

// machinesRules returns all packet filter rules of the machine that runs the test.
func machinesRules(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	for _, line := range []string{"iptables-save", "ip6tables-save", "nft list ruleset"} {
		words := strings.Fields(line)
		path, err := lab.FindTool(words[0])
		if err != nil {
			t.Fatal(err)
		}
		out, err := exec.CommandContext(t.Context(), path, words[1:]...).Output()
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		all.WriteString(line + "\n" + counters.ReplaceAllString(string(out), ""))
	}
	return all.String()
}
