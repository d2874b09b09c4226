package docs

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"knockkit/internal/lab/labtest"
)

const recipesPage = "docs/recipes.md"

// recipe returns the page's one block with this language and name.
func recipe(t *testing.T, language, about string) string {
	t.Helper()
	var found []string
	for _, b := range blocks(t, recipesPage, "sh", "toml", "ini", "text", "ssh-config") {
		if b.Language == language && b.About == about {
			found = append(found, b.Text)
		}
	}
	if len(found) != 1 {
		t.Fatalf("the page has %d blocks %q %q, want one", len(found), language, about)
	}
	return found[0]
}

// TestEachRecipeIsTried looks for each block's name in the tests.
func TestEachRecipeIsTried(t *testing.T) {
	source := read(t, "recipes_linux_test.go") + read(t, "recipes_more_linux_test.go")
	all := blocks(t, recipesPage, "sh", "toml", "ini", "text", "ssh-config")
	if len(all) < 11 {
		t.Errorf("the page has %d blocks: some are lost", len(all))
	}
	for _, b := range all {
		if b.About == "" || !strings.Contains(source, fmt.Sprintf("%q, %q", b.Language, b.About)) && b.Language != "ssh-config" {
			t.Errorf("no test uses the block %q %q", b.Language, b.About)
		}
	}
}

// cook is a reader who has the programs, an sshd on the server, and ssh with the page's settings.
type cook struct {
	*reader
	ssh []string // options with which ssh logs in
}

func newCook(t *testing.T) *cook {
	c := &cook{reader: installed(t)}
	c.ssh = labtest.SSHD(t, c.server, 22)
	c.profile("ssh", "sequence = [\"52614/tcp\", \"7421/udp\", \"31908/tcp\"]\nopen = [\"22/tcp\"]\n")
	c.on("sudo knockd install ssh --allow-lockout")
	return c
}

// profile writes a profile on the server, and on the laptop.
func (c *cook) profile(name, text string) {
	c.t.Helper()
	for dir, text := range map[string]string{"etc/knockd": text, "home/.config/knock": fmt.Sprintf("host = %q\n%s", c.server.Addr4, text)} {
		file := filepath.Join(c.dir, dir, "profiles", name+".toml")
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(text), 0o600)); err != nil {
			c.t.Fatal(err)
		}
	}
}

// on types a command on the server.
func (c *cook) on(command string) string {
	c.t.Helper()
	return c.run(c.server, Block{Text: command + "\n"})
}

// settings makes ssh read the page's block, as it would ~/.ssh/config: root's home is not the test's.
func (c *cook) settings(text string) {
	c.t.Helper()
	file := filepath.Join(c.dir, "home/ssh_config")
	text = strings.ReplaceAll(text, "db1.example.com", c.server.Addr4.String())
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
	real, err := exec.LookPath("ssh")
	if err != nil {
		c.t.Fatal(err)
	}
	c.stub("ssh", fmt.Sprintf("exec %s -F %s %s \"$@\"", real, file, strings.Join(c.ssh[2:], " ")))
}

// asks runs a command through ssh, and returns what it says.
func (c *cook) asks(options string) string {
	c.t.Helper()
	cmd := c.command(Block{Text: fmt.Sprintf("ssh -o ConnectTimeout=2 %s db1.example.com 'echo in' || echo out\n", options)})
	return labtest.Run(c.t, c.laptop, "", cmd.Args[0], cmd.Args[1:]...).Stdout
}

func TestSSHKnocksByItselfInBothWaysOfThePage(t *testing.T) {
	c := newCook(t)
	c.settings("")
	if said := c.asks(""); said != "out\n" {
		t.Fatalf("ssh comes in without a knock: %q", said)
	}
	for _, way := range []string{"match", "proxy"} {
		c.settings(recipe(t, "ssh-config", way))
		if said := c.asks(""); said != "in\n" {
			t.Errorf("%s: ssh says %q", way, said)
		}
		c.on("sudo knockd revoke ssh --all")
	}
}

func TestAnsiblesArgumentsKnock(t *testing.T) {
	c := newCook(t)
	c.settings("")
	_, arguments, found := strings.Cut(recipe(t, "ini", "inventory"), "ansible_ssh_common_args='")
	arguments, _, ends := strings.Cut(arguments, "'\n")
	if !found || !ends {
		t.Fatal("the page sets no arguments")
	}
	// As Ansible's ssh plugin has it by default.
	shared := "-C -o ControlMaster=auto -o ControlPersist=60s -o ControlPath=" + filepath.Join(c.dir, "control")
	if said := c.asks(shared + " " + arguments); said != "in\n" {
		t.Errorf("ssh says %q", said)
	}
	c.on("sudo knockd revoke ssh --all")
	if said := c.asks(shared + " " + arguments); said != "in\n" || !strings.Contains(c.on("sudo knockd status"), "0 open") {
		t.Errorf("the second ssh says %q, or has knocked again", said)
	}
	c.asks(shared + " -O exit")
}

func TestTheTunnelComesBackWithAKnock(t *testing.T) {
	labtest.Need(t, "autossh", "ss")
	for _, way := range []string{"match", "proxy"} {
		t.Run(way, func(t *testing.T) {
			c := newCook(t)
			c.settings(recipe(t, "ssh-config", way))
			cmd := c.command(Block{Text: "export AUTOSSH_PATH=\"$(command -v ssh)\" AUTOSSH_PIDFILE=" + filepath.Join(c.dir, "autossh.pid") + "\nexec env " + recipe(t, "sh", "autossh")})
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			labtest.Start(t, c.laptop, cmd)
			t.Cleanup(func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) })
			greets := func() error {
				said := labtest.Run(t, c.laptop, "", "bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/13306 && head -n 1 <&3").Stdout
				if said != greeting+"\n" {
					return fmt.Errorf("the tunnel says %q", said)
				}
				return nil
			}
			labtest.Eventually(t, 20*time.Second, greets)
			c.on("sudo knockd revoke ssh --all")
			// The server breaks the connection off. The ssh that autossh has started is its one child.
			children := func() string {
				text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", cmd.Process.Pid, cmd.Process.Pid))
				return strings.TrimSpace(string(text))
			}
			before := children()
			labtest.MustRun(t, c.server, "", "ss", "-K", "state", "established", "sport", "=", ":22")
			labtest.Eventually(t, 20*time.Second, func() error {
				if now := children(); now == "" || now == before {
					return fmt.Errorf("autossh has the children %q, before %q", now, before)
				}
				return greets()
			})
		})
	}
}
