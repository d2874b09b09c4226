package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
	"knockkit/protocol"
	"knockkit/protocol/format"
)

// aLink returns a link with every kind of character that links have, and its sequence.
func aLink(t *testing.T) (link, sequence string) {
	t.Helper()
	sequence = "7421-tcp+3190-udp-5s+9002-tcp"
	p, problems := format.ParseProfile("my-sql.toml", []byte(`host = ["a_b.Example.com", "2001:db8::7"]
sequence = ["7421/tcp", { knock = "3190/udp", within = "5s" }, "9002/tcp"]
open = ["6000-6010/tcp"]
`))
	if problems.HasErrors() {
		t.Fatal(problems)
	}
	link, err := format.Link(p, nil)
	if err != nil || !strings.Contains(link, sequence) {
		t.Fatalf("%s, error %v", link, err)
	}
	return link, sequence
}

// aSignedLink returns a link with a key, and the key's text.
func aSignedLink(t *testing.T) (link, secret string) {
	t.Helper()
	p, problems := format.ParseProfile("my-admin.toml", []byte(`host = ["a_b.Example.com", "2001:db8::7"]
signed = { carrier = "40123/udp" }
open = ["6000-6010/tcp"]
`))
	if problems.HasErrors() {
		t.Fatal(problems)
	}
	key := &format.KeyFile{Key: protocol.Key{Profile: "my-admin", User: "b_0-c", Audience: "DB1.example.com"}, Expires: time.Date(2999, 1, 31, 12, 0, 0, 0, time.UTC)}
	for i := range key.Secret {
		key.Secret[i] = byte(251 - i) // its text begins with -_r
	}
	secret = format.KeyText(key.Secret)
	link, err := format.Link(p, key)
	if err != nil || !strings.Contains(link, secret) || !strings.ContainsAny(secret, "-") || !strings.ContainsAny(secret, "_") {
		t.Fatalf("%s, error %v", link, err)
	}
	return link, secret
}

// terminal is a knock that runs on a terminal of its own.
type terminal struct {
	t     *testing.T
	cmd   *exec.Cmd
	keys  *os.File // the keyboard
	other *os.File // the side of the program
	shown *buffer
	ended chan struct{} // the program has ended, and all that it wrote is in shown
}

func onTerminal(t *testing.T, config string, args ...string) *terminal {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	tt := &terminal{t: t, shown: new(buffer), ended: make(chan struct{})}
	if tt.keys, tt.other, err = pty.Open(); err != nil {
		t.Fatal(err)
	}
	tt.cmd = &exec.Cmd{Path: self, Args: append([]string{"knock"}, args...), Stdin: tt.other, Stdout: tt.other, Stderr: tt.other,
		Env:         append(os.Environ(), "KNOCK_CONFIG="+config, "GORACE=atexit_sleep_ms=0", "TERM=xterm", "NO_COLOR=1"),
		SysProcAttr: &syscall.SysProcAttr{Setsid: true, Setctty: true}}
	if err := tt.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = tt.cmd.Process.Kill() // fails if it has ended
		<-tt.ended
		tt.other.Close()
		tt.keys.Close()
	})
	go func() { _, _ = io.Copy(tt.shown, tt.keys) }()
	go func() {
		_ = tt.cmd.Wait() // the exit code is looked at
		close(tt.ended)
	}()
	return tt
}

// modes are the terminal's settings.
func (tt *terminal) modes() unix.Termios {
	tt.t.Helper()
	modes, err := unix.IoctlGetTermios(int(tt.other.Fd()), unix.TCGETS)
	if err != nil {
		tt.t.Fatal(err)
	}
	return *modes
}

func (tt *terminal) shows(words string) {
	tt.t.Helper()
	labtest.Eventually(tt.t, 10*time.Second, func() error { return tt.shown.says(words) })
}

func (tt *terminal) types(keys string) {
	tt.t.Helper()
	if _, err := io.WriteString(tt.keys, keys); err != nil {
		tt.t.Fatal(err)
	}
}

func (tt *terminal) exits(code int) {
	tt.t.Helper()
	labtest.Eventually(tt.t, 10*time.Second, func() error {
		select {
		case <-tt.ended:
			return nil
		default:
			return errors.New("it runs still")
		}
	})
	if got := tt.cmd.ProcessState.ExitCode(); got != code {
		tt.t.Errorf("exit %d, want %d; it shows\n%s", got, code, tt.shown)
	}
}

// unread is how many bytes the shell would get.
func (tt *terminal) unread() int {
	tt.t.Helper()
	n, err := unix.IoctlGetInt(int(tt.other.Fd()), unix.TIOCINQ)
	if err != nil {
		tt.t.Fatal(err)
	}
	return n
}

// givenBack checks that the terminal is as a shell leaves it.
func (tt *terminal) givenBack() {
	tt.t.Helper()
	const lines = unix.ECHO | unix.ICANON | unix.ISIG
	if m := tt.modes(); m.Lflag&lines != lines || m.Oflag&unix.OPOST == 0 {
		tt.t.Errorf("the terminal's modes are %#x and %#x", m.Lflag, m.Oflag)
	}
	if n := tt.unread(); n > 0 {
		tt.t.Errorf("%d bytes are left to the shell", n)
	}
}

const question = "knock: the link (it is not shown): "

func TestTheLinkThatIsAskedForIsNotShown(t *testing.T) {
	link, sequence := aLink(t)
	config := filepath.Join(t.TempDir(), "knock")
	tt := onTerminal(t, config, "enroll")
	tt.shows(question)
	before := tt.modes()
	tt.types(" " + link + " \r")
	tt.exits(0)
	tt.shows("knock: to open 6000-6010/tcp on a_b.Example.com, 2001:db8::7: knock my-sql\r\n")
	for _, secret := range []string{"knock://", sequence, "7421"} {
		if strings.Contains(tt.shown.String(), secret) {
			t.Errorf("the terminal shows %s:\n%s", secret, tt.shown)
		}
	}
	if strings.Contains(tt.shown.String(), "history") {
		t.Errorf("it warns of a history that the link is not in:\n%s", tt.shown)
	}
	if text, err := os.ReadFile(filepath.Join(config, "profiles", "my-sql.toml")); err != nil || !strings.Contains(string(text), "7421/tcp") {
		t.Errorf("%s, error %v", text, err)
	}
	if before.Lflag&unix.ECHO != 0 || tt.modes().Lflag&unix.ECHO == 0 {
		t.Error("the terminal echoes while the link is asked for, or does not afterwards")
	}
}

// A key that is the same is no replacement on a terminal either.
func TestTheKeyInALinkIsNotShownOnATerminal(t *testing.T) {
	link, secret := aSignedLink(t)
	config := filepath.Join(t.TempDir(), "knock")
	for _, c := range []struct {
		name, typed, says string
		code              int
	}{
		{"in lines", link[:40] + "\r" + link[40:130] + "\r\n  " + link[130:] + "\r", "knock: to open 6000-6010/tcp on a_b.Example.com, 2001:db8::7: knock my-admin\r\n", 0},
		{"again", link + "\r", "of b_0-c is unchanged: ", 0},
		{"cut off in the key", link[:len(link)-30] + "\r\r", "knock: error: the link was cut off", 2},
		{"a changed letter", strings.Replace(link, secret, secret[1:2]+secret[1:], 1) + "\r", "knock: error: the link was changed on the way", 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			tt := onTerminal(t, config, "enroll")
			tt.shows(question)
			tt.types(c.typed)
			tt.exits(c.code)
			tt.shows(c.says)
			tt.givenBack()
			for at := range len(secret) - 8 {
				if strings.Contains(tt.shown.String(), secret[at:at+8]) {
					t.Fatalf("it shows a part of the key:\n%s", tt.shown)
				}
			}
		})
	}
	text, err := os.ReadFile(filepath.Join(config, "keys", "my-admin.key"))
	if err != nil || !strings.Contains(string(text), secret) {
		t.Errorf("%s, error %v", text, err)
	}
}

func TestWhoGivesUpTheQuestionGetsTheTerminalBack(t *testing.T) {
	const none = "no link was entered: no profile was enrolled"
	for name, c := range map[string]struct {
		keys, said string
		code       int
	}{"Ctrl-C": {"knock://\x03", "interrupted", 130}, "Ctrl-D": {"\x04", none, 2}, "nothing": {"\r", none, 2}} {
		t.Run(name, func(t *testing.T) {
			config := filepath.Join(t.TempDir(), "knock")
			tt := onTerminal(t, config, "enroll")
			tt.shows(question)
			tt.types(c.keys)
			tt.exits(c.code)
			tt.shows("\r\nknock: error: " + c.said + "\r\n")
			tt.givenBack()
			if _, err := os.Stat(config); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("there is a folder: %v", err)
			}
		})
	}
}

// A mail breaks lines, and what a terminal gets after a line that is taken goes to the shell: it runs
// it, shows it, and has it in its history.
func TestALinkOfSeveralLinesIsTakenAndNothingIsLeftToTheShell(t *testing.T) {
	link, _ := aLink(t)
	lines := link[:40] + "\r" + link[40:80] + "\r\n  " + link[80:] + "\r"
	rest := strings.Repeat("echo a line of a mail\r", 100) // more than a reader takes at once
	for _, c := range []struct {
		name, pasted string
		args         []string
		code         int
		says         string
	}{
		{"in three lines", lines, []string{"enroll"}, 0, "knock: profile my-sql written: "},
		{"asked for though it was to come from standard input", lines, []string{"enroll", "-"}, 0, "knock: profile my-sql written: "},
		{"with a mail behind it", lines + rest, []string{"enroll"}, 0, "knock: profile my-sql written: "},
		{"cut off, and no more", link[:80] + "\r\r" + rest, []string{"enroll"}, 2, "knock: error: the link was cut off"},
		{"no link", rest, []string{"enroll"}, 2, "knock: error: this is no link"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tt := onTerminal(t, filepath.Join(t.TempDir(), "knock"), c.args...)
			tt.shows(question)
			tt.types(c.pasted)
			tt.exits(c.code)
			tt.shows(c.says)
			tt.givenBack()
			if shown := tt.shown.String(); strings.Contains(shown, "knock://m") || strings.Contains(shown, link[40:60]) || strings.Contains(shown, "echo") {
				t.Errorf("it shows what was pasted:\n%s", shown)
			}
		})
	}
}

func TestASignalWhileTheLinkIsAskedForGivesTheTerminalBack(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		t.Run(s.String(), func(t *testing.T) {
			tt := onTerminal(t, filepath.Join(t.TempDir(), "knock"), "enroll")
			tt.shows(question)
			tt.types("knock://")
			if err := tt.cmd.Process.Signal(s); err != nil {
				t.Fatal(err)
			}
			tt.exits(128 + int(s))
			tt.shows("\r\nknock: error: interrupted")
			tt.givenBack()
		})
	}
}

// TestEveryShellPassesALinkOn as one argument, unquoted, whatever files there are.
func TestEveryShellPassesALinkOn(t *testing.T) {
	plain, _ := aLink(t)
	signed, _ := aSignedLink(t)
	for _, shell := range [][]string{
		{"bash", "-c"}, {"bash", "-O", "extglob", "-O", "failglob", "-c"}, {"dash", "-c"}, {"fish", "-c"},
		{"zsh", "-f", "-c"}, {"zsh", "-f", "-o", "extendedglob", "-o", "magicequalsubst", "-o", "kshglob", "-o", "braceccl", "-c"},
	} {
		labtest.Need(t, shell[0])
		for _, link := range []string{plain, signed} {
			cmd := exec.CommandContext(t.Context(), shell[0], append(shell[1:], "env printf '[%s]' "+link)...)
			cmd.Dir, cmd.Env = t.TempDir(), append(os.Environ(), "HOME="+t.TempDir())
			if out, err := cmd.CombinedOutput(); err != nil || string(out) != "["+link+"]" {
				t.Errorf("%q passes on\n%s\nof\n[%s], error %v", shell, out, link, err)
			}
		}
	}
}

// withPrograms puts knock and knockd into the path.
func withPrograms(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", dir, "../knockd").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	self, err := os.Executable()
	if err == nil {
		err = os.Symlink(self, filepath.Join(dir, "knock"))
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

// isShut fails where a port takes a connection before anybody knocked.
func isShut(t *testing.T, near *lab.Host, port netip.AddrPort) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond) // a shut gate is silent
	defer cancel()
	if c, err := near.Dial(ctx, "tcp", port.String()); err == nil {
		c.Close()
		t.Fatal("the port is open before anybody knocked")
	}
}

// TestAnEnrolledProfileOpensThePort on the real kernel, with the programs themselves: nobody copies a
// file.
func TestAnEnrolledProfileOpensThePort(t *testing.T) {
	labtest.NeedRoot(t)
	labtest.Need(t, "iptables-restore", "nft", "bash")
	withPrograms(t)
	for _, backend := range []string{"iptables", "nftables"} {
		t.Run(backend, func(t *testing.T) {
			server, near := labtest.NewHost(t, "server"), labtest.NewHost(t, "laptop")
			labtest.Join(t, server, near)
			labtest.Listen(t, server, "tcp", "[::]:3306")
			l := &laptop{t, near, filepath.Join(t.TempDir(), "knock")}
			etc := t.TempDir()
			t.Setenv("KNOCKD_CONFIG", etc)
			t.Setenv("KNOCK_CONFIG", l.config)
			if err := os.WriteFile(filepath.Join(etc, "knockd.toml"), []byte(fmt.Sprintf("backend = %q\n", backend)), 0o600); err != nil {
				t.Fatal(err)
			}
			labtest.MustRun(t, server, "", "knockd", "profile", "new", "mysql")
			labtest.MustRun(t, server, "", "knockd", "install")
			isShut(t, near, netip.AddrPortFrom(server.Addr4, 3306))
			// ssh would be between the two.
			pipe := "knockd profile link mysql --host " + server.Addr4.String() + " --host " + server.Addr6.String() + " | knock enroll -"
			if out := labtest.Run(t, near, "", "bash", "-c", "set -o pipefail; "+pipe); out.Code != 0 || out.Stdout != "" {
				t.Fatalf("exit %d\n%s%s", out.Code, out.Stdout, out.Stderr)
			}
			p, code := l.run("mysql")
			for _, addr := range []string{server.Addr4.String(), server.Addr6.String()} {
				if code != 0 || !strings.Contains(p.stderr.String(), "knock: mysql@"+addr+": "+addr+" open after") {
					t.Errorf("exit %d\n%s", code, p.stderr)
				}
			}
			inFile, err := os.ReadFile(filepath.Join(l.config, "profiles", "mysql.toml"))
			if err != nil || bytes.Contains(inFile, []byte("#")) {
				t.Errorf("the server's own file came along: %s, error %v", inFile, err)
			}
			sources := labtest.MustRun(t, server, "", "knockd", "status", "--json")
			for _, source := range []netip.Addr{near.Addr4, near.Addr6} {
				if !strings.Contains(sources, `"`+source.String()+`"`) {
					t.Errorf("%s has no lease:\n%s", source, sources)
				}
			}
		})
	}
}

// TestAnEnrolledKeyOpensThePort on the real kernel, with the programs themselves, and so does the next key.
func TestAnEnrolledKeyOpensThePort(t *testing.T) {
	labtest.NeedRoot(t)
	labtest.Need(t, "nft")
	withPrograms(t)
	for _, carrier := range []string{"icmp", "40123/udp"} {
		t.Run(carrier, func(t *testing.T) {
			server, near := labtest.NewHost(t, "server"), labtest.NewHost(t, "laptop")
			labtest.Join(t, server, near)
			labtest.Listen(t, server, "tcp", "[::]:2222")
			l := &laptop{t, near, filepath.Join(t.TempDir(), "knock")}
			etc := t.TempDir()
			t.Setenv("KNOCKD_CONFIG", etc)
			t.Setenv("KNOCKD_STATE", t.TempDir())
			t.Setenv("KNOCK_CONFIG", l.config)
			if err := os.WriteFile(filepath.Join(etc, "knockd.toml"), []byte("backend = \"nftables\"\naudience = \"db1\"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			labtest.MustRun(t, server, "", "knockd", "profile", "new", "admin", "--signed", "--carrier", carrier, "--open", "2222/tcp")
			labtest.MustRun(t, server, "", "knockd", "install")
			isShut(t, near, netip.AddrPortFrom(server.Addr4, 2222))
			for _, enroll := range [][]string{{"enroll", "-"}, {"enroll", "-", "--force"}} { // the second for another key
				link := labtest.MustRun(t, server, "", "knockd", "key", "add", "alice", "admin", "--host", server.Addr4.String(), "--host", server.Addr6.String())
				if out := labtest.Run(t, near, link, "knock", enroll...); out.Code != 0 || out.Stdout != "" || strings.Contains(out.Stderr, "knock://") {
					t.Fatalf("%s: exit %d\n%s%s", enroll, out.Code, out.Stdout, out.Stderr)
				}
				labtest.MustRun(t, server, "", "knockd", "revoke", "admin", "--all")
				p, code := l.run("admin")
				for _, addr := range []string{server.Addr4.String(), server.Addr6.String()} {
					if code != 0 || !strings.Contains(p.stderr.String(), "knock: admin@"+addr+": "+addr+" open after") {
						t.Errorf("%s: exit %d\n%s", enroll, code, p.stderr)
					}
				}
			}
			sources := labtest.MustRun(t, server, "", "knockd", "status", "--json")
			for _, source := range []netip.Addr{near.Addr4, near.Addr6} {
				if !strings.Contains(sources, `"`+source.String()+`"`) {
					t.Errorf("%s has no lease:\n%s", source, sources)
				}
			}
		})
	}
}
