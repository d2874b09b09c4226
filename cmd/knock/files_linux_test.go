package main

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unicode"

	"knockkit/internal/lab/labtest"
	"knockkit/protocol/format"
)

const shop = "host = \"198.51.100.1\"\nsequence = [\"7421/tcp\", \"3190/udp\", \"9002/tcp\"]\nopen = [\"3306/tcp\"]\n"

// home is that of a user with a group of his own, who is no root: Debian's daemon.
type home struct {
	t         *testing.T
	dir, self string
}

const daemon = 1

func newHome(t *testing.T) *home {
	t.Helper()
	labtest.NeedRoot(t)
	dir, err := os.MkdirTemp("/tmp", "knock") // where another user can come to
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	h := &home{t, dir, filepath.Join(dir, "knock")}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Chmod(dir, 0o755), os.WriteFile(h.self, program, 0o755)); err != nil {
		t.Fatal(err)
	}
	h.write(".config/knock/profiles/shop.toml", shop)
	return h
}

// write makes a file of the user's, and the folders above it.
func (h *home) write(name, text string) {
	h.t.Helper()
	file := filepath.Join(h.dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(text), 0o600)); err != nil {
		h.t.Fatal(err)
	}
	for path := file; path != "/tmp"; path = filepath.Dir(path) {
		if err := os.Chown(path, daemon, daemon); err != nil {
			h.t.Fatal(err)
		}
	}
}

func (h *home) knock(args ...string) (code int, said string) {
	h.t.Helper()
	cmd := &exec.Cmd{Path: h.self, Args: append([]string{"knock"}, args...), Env: []string{"HOME=" + h.dir, "GORACE=atexit_sleep_ms=0"}, Dir: h.dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: daemon, Gid: daemon}}
	out, err := cmd.CombinedOutput()
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		h.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// TestAProfileOfTheUsersThatOthersMayWriteIsRefused as ssh refuses its own file, and in
// a folder that was named it is warned about.
func TestAProfileOfTheUsersThatOthersMayWriteIsRefused(t *testing.T) {
	const other = 54321
	for _, c := range []struct {
		name     string
		mode     os.FileMode
		uid, gid int
		says     string // "": it is taken
	}{
		{"his own", 0o600, daemon, daemon, ""},
		{"readable", 0o644, daemon, daemon, ""},
		{"root's", 0o644, 0, 0, ""},
		{"with umask 002 and a group of his own", 0o664, daemon, daemon, ""},
		{"writable for a group", 0o664, daemon, other, "can be written by others than its owner (mode 0664)"},
		{"writable for all", 0o646, daemon, daemon, "can be written by others than its owner (mode 0646)"},
		{"of somebody else", 0o644, other, daemon, "belongs to user 54321, who is neither root nor you"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHome(t)
			file := filepath.Join(h.dir, ".config/knock/profiles/shop.toml")
			if err := errors.Join(os.Chown(file, c.uid, c.gid), os.Chmod(file, c.mode)); err != nil {
				t.Fatal(err)
			}
			code, said := h.knock("show", "shop")
			if refused := c.says != ""; refused != (code == 2) || !strings.Contains(said, c.says) || refused != strings.Contains(said, "knock: error: "+file) {
				t.Errorf("exit %d\n%s", code, said)
			}
			if code, said = h.knock("show", "shop", "--config", ".config/knock"); code != 0 && c.uid != 0 && c.mode&0o004 != 0 {
				t.Errorf("of a folder that was named: exit %d\n%s", code, said)
			}
			if warned := strings.Contains(said, "knock: warning: "+file); warned != (c.says != "") || !strings.Contains(said, c.says) {
				t.Errorf("of a folder that was named:\n%s", said)
			}
		})
	}
}

func TestAProfileThatEverybodyCanReadIsSaidToBeOneWhereverItIsUsed(t *testing.T) {
	h := newHome(t)
	file := filepath.Join(h.dir, ".config/knock/profiles/shop.toml")
	const other = "host = \"198.51.100.1\"\nsequence = [\"7421/tcp\", \"3190/udp\", \"9002/tcp\"]\nopen = [\"3307/tcp\"]\n"
	h.write(".config/knock/profiles/other.toml", other)
	h.write("checkout/profiles/shop.toml", shop)
	for _, f := range []string{file, filepath.Join(h.dir, "checkout/profiles/shop.toml")} {
		if err := os.Chmod(f, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	const once = "everybody on this host can read the sequence"
	for _, c := range []struct {
		args []string
		want int
	}{
		{[]string{"shop@127.0.0.1", "--no-verify"}, 1}, {[]string{"list"}, 1}, {[]string{"list", "--json"}, 1}, {[]string{"show", "shop"}, 1},
		{[]string{"shop@127.0.0.1", "--no-verify", "-q"}, 0}, {[]string{"list", "-q"}, 0}, {[]string{"show", "other"}, 0}, {[]string{"other@127.0.0.1", "--no-verify"}, 0},
		{[]string{"shop@127.0.0.1", "--no-verify", "--config", "checkout"}, 0}, {[]string{"list", "--config", "checkout"}, 0}, // a job would be told every time
		{[]string{"-p", "checkout/profiles/shop.toml", "--host", "127.0.0.1", "--no-verify"}, 0},
		{[]string{"show", "shop", "--config", "checkout"}, 1},
	} {
		code, said := h.knock(c.args...)
		if code != 0 || strings.Count(said, once) != c.want || strings.Count(said, "chmod go-r "+file) != c.want && c.args[len(c.args)-1] != "checkout" {
			t.Errorf("knock %q: exit %d, want the warning %d times\n%s", c.args, code, c.want, said)
		}
	}
}

func TestAKeyThatEverybodyCanReadIsSaidToBeOne(t *testing.T) {
	h := newHome(t)
	for _, dir := range []string{".config/knock", "checkout"} {
		h.write(dir+"/profiles/admin.toml", "host = \"127.0.0.1\"\n"+signedProfile("9/udp", ""))
		h.write(dir+"/keys/admin.key", string(format.KeyFileText(aliceKey())))
	}
	file := filepath.Join(h.dir, ".config/knock/keys/admin.key")
	for _, c := range []struct {
		mode os.FileMode
		args []string
		want bool
	}{
		{0o600, []string{"admin", "--no-verify"}, false},
		{0o644, []string{"admin", "--no-verify"}, true},
		{0o644, []string{"show", "admin"}, true},
		{0o644, []string{"admin", "--no-verify", "-q"}, false},
		{0o644, []string{"admin", "--no-verify", "--config", "checkout"}, false},
	} {
		for _, f := range []string{file, filepath.Join(h.dir, "checkout/keys/admin.key")} {
			if err := os.Chmod(f, c.mode); err != nil {
				t.Fatal(err)
			}
		}
		code, said := h.knock(c.args...)
		is := strings.Contains(said, "everybody on this host can read the key of admin\nknock: hint: chmod go-r "+file+"\n")
		if code != 0 || is != c.want {
			t.Errorf("mode %o, knock %q: exit %d, want the warning: %v\n%s", c.mode, c.args, code, c.want, said)
		}
	}
}

// TestNothingThatOthersWroteReachesTheTerminalOfTheClient as it is: names of files,
// texts of profiles, and arguments.
func TestNothingThatOthersWroteReachesTheTerminalOfTheClient(t *testing.T) {
	const hostile = "a\x1b[31mb\x1b[0m\x1b]0;t\a\u009b2J\x7f\u202ec\u2066\u200b\nknock: all is well\n"
	h := newHome(t)
	h.write(".config/knock/profiles/"+hostile+".toml", shop)
	h.write(".config/knock/profiles/bad.toml", "description = \"\\u001b[31m\\u202e\"\nhost = \"a\\u001b[2J\"\n\"\u202e\" = 1 # \u2066\n")
	h.write("hosts", hostile)
	h.write(hostile, "x\x1b[2J\n")
	met := 0
	for _, args := range [][]string{
		{"list"}, {"list", "--json"}, {"show", "bad"}, {"show", "bad", "--json"}, {"show", hostile}, {"list", hostile}, {hostile}, {hostile, hostile}, {"--" + hostile},
		{"shop@" + hostile}, {"shop", "--host", hostile, "--json"}, {"shop", "--hosts-file", "hosts"}, {"shop", "--hosts-file", hostile}, {"shop", "--hosts-file", hostile + "x"},
		{"shop", "--timeout", hostile}, {"shop", "-j", hostile}, {"shop", hostile}, {"close", hostile}, {"close", "shop@" + hostile}, {"proxy", hostile}, {"proxy", "shop", hostile, hostile},
		{"forward", hostile}, {"forward", "shop", hostile}, {"completion", hostile}, {"__complete", "--", ""}, {"__complete", "--", "show", hostile}, {"list", "--config", hostile},
		{hostile + ".invalid", "7000"}, {"198.51.100.1", hostile}, {"shop", "--config", h.dir + "/hosts"},
	} {
		_, said := h.knock(args...)
		for _, r := range said {
			if r != '\n' && r != '\t' && !unicode.IsPrint(r) {
				t.Errorf("knock %q: %U in\n%q", args, r, said)
				break
			}
		}
		if strings.Contains("\n"+said, "\nknock: all is well\n") {
			t.Errorf("knock %q: a line that looks like ours:\n%s", args, said)
		}
		met += strings.Count(said, "�") + strings.Count(said, `\x1b`) + strings.Count(said, `\u001b`)
	}
	if met < 50 {
		t.Errorf("hostile text was met %d times", met)
	}
}

func TestTheClientWaitsForNoPipe(t *testing.T) {
	h := newHome(t)
	pipe := filepath.Join(h.dir, "pipe")
	if err := errors.Join(syscall.Mkfifo(pipe, 0o666), syscall.Mkfifo(filepath.Join(h.dir, ".config/knock/profiles/pipe.toml"), 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"shop", "--hosts-file", pipe}, {"show", "pipe"}, {"list"}} {
		if code, said := h.knock(args...); code != 2 && args[0] != "list" || !strings.Contains(said, "is not a regular file: it is a pipe") && !strings.Contains(said, "belongs to user 0") {
			t.Errorf("knock %q: exit %d\n%s", args, code, said)
		}
	}
}

// TestRootWritesNothingIntoTheHomeOfAUser: as sudo with -E, or where it keeps HOME. The user could
// not write there afterwards.
func TestRootWritesNothingIntoTheHomeOfAUser(t *testing.T) {
	labtest.NeedRoot(t)
	near := labtest.NewHost(t, "laptop")
	l := newLaptop(t, near, map[string]string{"mysql": "host = \"127.0.0.1\"\nsequence = [\"7000/tcp\", \"7001/udp\"]\nopen = [\"3306/tcp\"]\n"})
	labtest.Listen(t, near, "tcp", ":3306")
	if err := os.Chown(l.config, 12345, 12345); err != nil {
		t.Fatal(err)
	}
	if p, code := l.run("-p", filepath.Join(l.config, "profiles", "mysql.toml"), "-v"); code != 0 || p.stderr.says("is not kept for `knock status`: "+l.config+" belongs to user 12345") != nil {
		t.Errorf("exit %d: %s", code, p.stderr)
	}
	if _, err := os.Stat(filepath.Join(l.config, ".local")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the home of the user has .local: %v", err)
	}
	if p, code := l.run("status"); code != 1 || p.stderr.says("knock: error: what is open is not kept on this machine: ") != nil {
		t.Errorf("exit %d: %s%s", code, p.stdout, p.stderr)
	}
}
