package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"knockkit/internal/lab/labtest"
	"knockkit/protocol/format"
)

// block is a piece of code of a page.
type block struct{ language, text string }

func blocks(t *testing.T, file string) []block {
	t.Helper()
	page, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var all []block
	parts := strings.Split(string(page), "\n```")
	for i := 1; i < len(parts); i += 2 {
		language, text, _ := strings.Cut(parts[i], "\n")
		all = append(all, block{language, text + "\n"})
	}
	return all
}

// job is a folder in which a script of the page runs.
type job struct {
	t   *testing.T
	dir string
	env []string
}

// newJob returns a folder with the profile "shop", which leads to a port here.
func newJob(t *testing.T, port string) *job {
	t.Helper()
	j := &job{t: t, dir: t.TempDir()}
	j.write("profiles/shop.toml", shopProfile(port), 0o600)
	// make tells the makes below it of itself, which then say more.
	j.env = append(os.Environ(), "MAKEFLAGS=", "MAKELEVEL=", "MFLAGS=", "KNOCK_CONFIG="+j.dir, "GORACE=atexit_sleep_ms=0", "SHOP_LINK="+shopLink(t, port))
	return j
}

func shopProfile(port string) string {
	return fmt.Sprintf("host = \"127.0.0.1\"\nsequence = [\"9/udp\", \"9/tcp\"]\nopen = [\"%s/tcp\"]\n", port)
}

func shopLink(t *testing.T, port string) string {
	t.Helper()
	p, problems := format.ParseProfile("shop.toml", []byte(shopProfile(port)))
	if problems.HasErrors() {
		t.Fatal(problems)
	}
	link, err := format.Link(p, nil)
	if err != nil {
		t.Fatal(err)
	}
	return link
}

func (j *job) write(name, text string, mode os.FileMode) {
	j.t.Helper()
	path := filepath.Join(j.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		j.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		j.t.Fatal(err)
	}
}

// run returns both streams and the exit code.
func (j *job) run(name string, args ...string) (string, int) {
	j.t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env = j.dir, j.env
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		j.t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

func ports(t *testing.T) (open, shut string) {
	t.Helper()
	l, err := listen()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	s, err := listen()
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	return port(l), port(s)
}

func TestTheCodeOfThePageOnDeployJobsRuns(t *testing.T) {
	all := blocks(t, "../../docs/deploy-jobs.md")
	var languages []string
	for _, b := range all {
		languages = append(languages, b.language)
	}
	if got := strings.Join(languages, " "); got != "sh make sh sh yaml" {
		t.Fatalf("the page has the blocks %q; this test knows sh make sh sh yaml", got)
	}
	open, shut := ports(t)

	t.Run("the shell script", func(t *testing.T) {
		j := newJob(t, open)
		j.write("job.sh", all[0].text, 0o700)
		if out, code := j.run("./job.sh"); code != 0 || out != "the shop's database is open\ndump from 127.0.0.1\n" {
			t.Errorf("exit %d\n%s", code, out)
		}
		j = newJob(t, shut)
		j.write("job.sh", all[0].text, 0o700)
		if out, code := j.run("./job.sh"); code != 3 || !strings.Contains(out, "no database (exit 3)") {
			t.Errorf("exit %d\n%s", code, out)
		}
	})
	t.Run("the Makefile", func(t *testing.T) {
		labtest.Need(t, "make")
		j := newJob(t, open)
		j.write("Makefile", all[1].text, 0o600)
		j.write("hosts.txt", "127.0.0.1\nlocalhost\n", 0o600)
		if out, code := j.run("make"); code != 0 || !strings.HasSuffix(out, "2 of 2 hosts opened\ndeploying to 2 hosts\n") {
			t.Errorf("exit %d\n%s", code, out)
		}
		j.write("hosts.txt", "127.0.0.1\n127.0.0.2\n", 0o600)
		if out, code := j.run("make"); code == 0 || strings.Contains(out, "deploying") {
			t.Errorf("exit %d\n%s", code, out)
		}
	})
	t.Run("a command for each host", func(t *testing.T) {
		j := newJob(t, open)
		j.write("job.sh", all[2].text, 0o700)
		j.write("hosts.txt", "127.0.0.2\n127.0.0.1\n", 0o600)
		out, code := j.run("./job.sh")
		if code != 3 || !strings.Contains(out, "backup of 127.0.0.1 from 127.0.0.1\n") || strings.Contains(out, "backup of 127.0.0.2") {
			t.Errorf("exit %d\n%s", code, out)
		}
	})
	t.Run("the hosts that did open", func(t *testing.T) {
		j := newJob(t, open)
		j.write("job.sh", all[3].text, 0o700)
		j.write("hosts.txt", "127.0.0.2\n127.0.0.1\n", 0o600)
		if out, code := j.run("./job.sh"); code != 0 || !strings.HasSuffix(out, "\n127.0.0.1\n") || strings.HasSuffix(out, "127.0.0.2\n127.0.0.1\n") {
			t.Errorf("exit %d\n%s", code, out)
		}
	})
	t.Run("the CI job", func(t *testing.T) {
		var script strings.Builder
		script.WriteString("set -e\n")
		for line := range strings.Lines(all[4].text) {
			if command, ok := strings.CutPrefix(strings.TrimSpace(line), "- "); ok {
				script.WriteString(command + "\n")
			}
		}
		j := newJob(t, open)
		j.write("deploy.sh", "#!/bin/sh\necho deploying to $KNOCK_ADDR\n", 0o700)
		j.write("ci.sh", script.String(), 0o600)
		out, code := j.run("sh", "ci.sh")
		if code != 0 || !strings.HasSuffix(out, "deploying to 127.0.0.1\n") {
			t.Errorf("exit %d\n%s", code, out)
		}
		if _, err := os.Stat(filepath.Join(j.dir, "knock-config")); err == nil {
			t.Error("the secret is still there after the job")
		}
		j.env = append(j.env, "SHOP_LINK=")
		if out, code := j.run("sh", "ci.sh"); code != 2 || strings.Contains(out, "deploying") {
			t.Errorf("without the secret: exit %d\n%s", code, out)
		}
	})
}
