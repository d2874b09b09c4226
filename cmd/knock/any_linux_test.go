package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"knockkit/internal/command"
	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
)

// anyProfile opens the port of greet on any of the hosts.
func anyProfile(hosts ...string) string {
	return fmt.Sprintf("host = [\"%s\"]\nany = true\n%s", strings.Join(hosts, `", "`), sshProfile)
}

// newNodes returns a laptop on one network with gated hosts that greet, and an address at which nobody answers.
func newNodes(t *testing.T, n int) (near *lab.Host, nodes []*gatedHost, greeters []net.Listener, silent string) {
	t.Helper()
	near = labtest.NewHost(t, "laptop")
	all := []*lab.Host{near}
	for i := range n {
		all = append(all, labtest.NewHost(t, fmt.Sprintf("node%d", i)))
	}
	labtest.Network(t, all...)
	for _, h := range all[1:] {
		nodes = append(nodes, installGate(t, h, "web", sshProfile))
		l := labtest.Listen(t, h, "tcp", ":2222")
		greeters = append(greeters, l)
		go greet(l)
	}
	if err := near.AddRoute(lab.Forged4(), "eth0", all[1].Addr4); err != nil {
		t.Fatal(err)
	}
	return near, nodes, greeters, lab.ForgedAddr4(1).String()
}

func TestAnyHostThatOpensIsEnoughAndTheOrderSpreads(t *testing.T) {
	near, nodes, _, silent := newNodes(t, 1)
	open := nodes[0].host.Addr4.String()
	l := newLaptop(t, near, map[string]string{"web": anyProfile(silent, open)})
	start := time.Now()
	if p, code := l.run("web@" + silent); code != command.NotOpen {
		t.Fatalf("exit %d\n%s", code, p.stderr)
	}
	alone := time.Since(start)
	waited := fmt.Sprintf("knock: warning: %s had not opened when %s did\n", silent, open)
	first := map[bool]int{} // whether the silent host was tried first
	for i := 0; len(first) < 2; i++ {
		if i == 30 {
			t.Fatalf("30 times the same host was first: %v", first)
		}
		start := time.Now()
		p, code := l.run("web", "--", "sh", "-c", "echo at $KNOCK_ADDR, $KNOCK_HOST")
		if code != 0 || p.stdout.String() != "at "+open+", "+open+"\n" {
			t.Fatalf("exit %d, %q\n%s", code, p.stdout, p.stderr)
		}
		if err := p.stderr.says("knock: web@" + open + ": " + open + " open after "); err != nil {
			t.Error(err)
		}
		silentFirst := strings.Contains(p.stderr.String(), waited)
		if took := time.Since(start); silentFirst && took > alone*2/3 {
			t.Errorf("a silent host took %v of the time, %v where it is alone", took, alone)
		}
		first[silentFirst]++
		nodes[0].revoke(near.Addr4)
	}
	// Named hosts are all meant.
	p, code := l.run("web@"+silent, "--host", open)
	if code != command.NotOpen || !strings.Contains(p.stderr.String(), "knock: error: 1 of 2 hosts did not open\n") {
		t.Errorf("exit %d\n%s", code, p.stderr)
	}
}

func TestWithAnyEveryHostThatDidNotOpenSaysWhy(t *testing.T) {
	near, nodes, _, silent := newNodes(t, 1)
	shut := nodes[0].host.Addr4.String()
	l := newLaptop(t, near, map[string]string{"web": strings.ReplaceAll(anyProfile(silent, shut), "1201", "1211")})
	p, code := l.run("web", "--json")
	if code != command.NotOpen {
		t.Errorf("exit %d", code)
	}
	states := map[string]string{}
	for line := range strings.Lines(p.stdout.String()) {
		var h hostJSON
		if err := json.Unmarshal([]byte(line), &h); err != nil {
			t.Fatal(err)
		}
		states[h.Host] = h.State
	}
	if len(states) != 2 || states[silent] != "filtered" || states[shut] != "filtered" {
		t.Errorf("%v", states)
	}
	for _, words := range []string{
		fmt.Sprintf("knock: error: %s did not open: 2222/tcp of %[1]s: no reply\n", silent),
		fmt.Sprintf("knock: error: %s did not open: 2222/tcp of %[1]s: no reply\n", shut),
		"knock: error: none of 2 hosts opened\nknock: hint: for one host with its reasons: knock web@HOST\n",
	} {
		if err := p.stderr.says(words); err != nil {
			t.Error(err)
		}
	}
	if p, code := l.run("web", "--", "echo", "in"); code != command.NotOpen || p.stdout.String() != "" {
		t.Errorf("exit %d, the command said %q", code, p.stdout)
	}
	p, code = l.run("proxy", "web")
	if code != command.NotOpen || strings.Count(p.stderr.String(), " did not open: ") != 2 {
		t.Errorf("proxy: exit %d\n%s", code, p.stderr)
	}
}

func TestJSONAndEachAreAboutTheHostThatOpened(t *testing.T) {
	near, nodes, _, _ := newNodes(t, 2)
	one, other := nodes[0].host.Addr4.String(), nodes[1].host.Addr4.String()
	l := newLaptop(t, near, map[string]string{"web": anyProfile(one, other)})
	p, code := l.run("web", "--json")
	var h hostJSON
	if err := json.Unmarshal([]byte(p.stdout.String()), &h); err != nil { // one line
		t.Fatal(err, p.stdout)
	}
	if code != 0 || h.State != "open" || h.Host != one && h.Host != other {
		t.Errorf("exit %d, %+v\n%s", code, h, p.stderr)
	}
	if n := len(nodes[0].sources().Sources) + len(nodes[1].sources().Sources); n != 1 {
		t.Errorf("%d leases, want one", n)
	}
	p, code = l.run("web", "--each", "--", "echo", "on {}")
	if said := p.stdout.String(); code != 0 || said != "on "+one+"\n" && said != "on "+other+"\n" {
		t.Errorf("exit %d, %q\n%s", code, said, p.stderr)
	}
}

func TestProxyAndForwardConnectToAnyHostThatOpens(t *testing.T) {
	near, nodes, greeters, silent := newNodes(t, 2)
	one, other := nodes[0].host.Addr4.String(), nodes[1].host.Addr4.String()
	l := newLaptop(t, near, map[string]string{"web": anyProfile(silent, one, other)})
	in, input, err := os.Pipe() // never ends
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	defer input.Close()
	p := l.startWith(in, "proxy", "web")
	labtest.Eventually(t, time.Minute, func() error { return p.stdout.says("hello") })
	_ = p.cmd.Process.Kill()
	_ = p.wait()
	f := l.forwarding("web", "127.0.0.1:12222")
	connect := func() {
		t.Helper()
		c, err := near.Dial(t.Context(), "tcp", "127.0.0.1:12222")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.ReadFull(c, make([]byte, len("hello"))); err != nil {
			t.Fatalf("%v\n%s", err, f.stderr)
		}
	}
	connect()
	knocks := func() int { return strings.Count(f.stderr.String(), "knocking on ") }
	n := knocks()
	for range 3 { // the lease that there is
		connect()
	}
	if knocks() != n {
		t.Errorf("a lease was not used: %s", f.stderr)
	}
	// The host goes away: another takes over.
	at, next := 0, other
	if strings.Contains(f.stderr.String(), "web@"+other+": ") {
		at, next = 1, one
	}
	greeters[at].Close()
	connect()
	if err := f.stderr.says("knock: web@" + next + ": " + next + " open after "); err != nil {
		t.Error(err)
	}
	f.end(t)
}

func TestEachOfAnyHostsIsSentAnotherToken(t *testing.T) {
	l, far, link := newSigned(t, "40123/udp", "") // no gate: nothing takes the connection
	l.write("profiles/ssh.toml", fmt.Sprintf("host = [%q, %q]\nany = true\nclient = { attempts = 1 }\n", far.Addr4, far.Addr6)+signedProfile("40123/udp", ""))
	seen, knocks := map[made]bool{}, 0
	for range 2 {
		tap := link.Tap(1000)
		if p, code := l.run("ssh"); code != command.NotOpen {
			t.Fatalf("exit %d\n%s", code, p.stderr)
		}
		for _, m := range l.tokens(tap, "40123/udp") {
			seen[m] = true
			knocks++
		}
	}
	if len(seen) != 4 || knocks != 4 {
		t.Errorf("%d knocks with the tokens %v, want 4 and 4", knocks, seen)
	}
}
