package main

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"

	"knockkit/internal/command"
	"knockkit/internal/lab/labtest"
)

// TestATimeoutSaysWhatWasNotDone: only a whole sequence and an answer that did not come tell that a
// port did not open.
func TestATimeoutSaysWhatWasNotDone(t *testing.T) {
	server, near := labtest.NewHost(t, "server"), labtest.NewHost(t, "laptop")
	labtest.Join(t, server, near)
	host := server.Addr4.String()
	installGate(t, server, "shut", "sequence = [\"1301/tcp\", \"1302/tcp\"]\nopen = [\"2223/tcp\"]\n")
	l := newLaptop(t, near, map[string]string{
		"shut": "sequence = [\"1202/udp\"]\nopen = [\"2223/tcp\"]\n",
		"slow": "sequence = [\"1202/udp\", \"1203/udp\"]\nopen = [\"2223/tcp\"]\nclient = { gap = \"10s\" }\n",
	})
	unfinished := "the sequence for " + host + " was not finished in the time of --timeout"
	for _, c := range []struct {
		name string
		args []string
		said string
		code int
	}{
		{"the check", []string{"shut@" + host}, host + " did not open in the time of --timeout", command.NotOpen},
		{"the sequence", []string{"slow@" + host}, unfinished, command.Failed},
		{"what is not checked", []string{"slow@" + host, "--no-verify"}, unfinished, command.Failed},
		{"the classic form", []string{host, "1202:udp", "1203:udp", "-d", "10000"}, unfinished, command.Failed},
		{"a proxy", []string{"proxy", "slow", host, "2223"}, unfinished, command.Failed},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, code := l.run(append(c.args, "--timeout", "150ms")...)
			if want := "knock: error: " + c.said + "\n"; code != c.code || p.stderr.String() != want {
				t.Errorf("exit %d, said %q, want %d, %q", code, p.stderr, c.code, want)
			}
		})
	}
	t.Run("as JSON and with details", func(t *testing.T) {
		p, _ := l.run("slow@"+host, "--timeout", "150ms", "--json", "-v")
		var h hostJSON
		if err := json.Unmarshal([]byte(p.stdout.String()), &h); err != nil {
			t.Fatal(err)
		}
		if want := "the sequence for " + host + " was not finished in time"; h.Error != unfinished || h.Results[0].Error != want {
			t.Errorf("%q and %q, want %q and %q", h.Error, h.Results[0].Error, unfinished, want)
		}
		if err := p.stderr.says("attempt 1  not finished\n"); err != nil {
			t.Error(err)
		}
	})
	t.Run("the name", func(t *testing.T) {
		labtest.Need(t, "unshare", "mount")
		labtest.ListenPacket(t, server, "udp", ":53") // and never answers
		conf := l.write("resolv.conf", "nameserver "+host+"\n")
		p := &program{stdout: new(buffer), stderr: new(buffer)}
		p.cmd = exec.Command("unshare", "-m", "sh", "-c", `mount --bind "$0" /etc/resolv.conf && exec knock "$@"`,
			conf, "shut@db1.example.com", "--timeout", "150ms", "--json")
		p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = l.env(), p.stdout, p.stderr
		p.wait = labtest.Start(t, near, p.cmd)
		_ = p.wait() // the exit code says the same
		const said = "the address of db1.example.com was not found in the time of --timeout"
		if code := p.cmd.ProcessState.ExitCode(); code != command.Failed || !strings.Contains(p.stdout.String(), `"error":"`+said+`"`) {
			t.Errorf("exit %d, want %d with %q: %s%s", code, command.Failed, said, p.stdout, p.stderr)
		}
	})
}
