package main

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"knockkit/internal/command"
	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
)

// fleet is a host with 200 addresses, on a network where another 100 are dead:
// what is sent there vanishes. Nothing is gated, for all would share one gate.
func fleet(t *testing.T) (near *lab.Host, hosts []string) {
	t.Helper()
	server, near := labtest.NewHost(t, "server"), labtest.NewHost(t, "laptop")
	labtest.Join(t, server, near)
	labtest.Listen(t, server, "tcp", ":3306")
	if err := near.AddRoute(lab.Forged4(), "eth0", server.Addr4); err != nil {
		t.Fatal(err)
	}
	for i := range 300 {
		addr := lab.ForgedAddr4(i)
		hosts = append(hosts, addr.String())
		if i%3 == 0 {
			continue
		}
		if err := server.AddAddr("lo", netip.PrefixFrom(addr, 32)); err != nil {
			t.Fatal(err)
		}
	}
	return near, hosts
}

func TestThreeHundredHostsTakeHardlyLongerThanTheSlowestOfThem(t *testing.T) {
	near, hosts := fleet(t)
	l := newLaptop(t, near, map[string]string{"mysql": mysqlProfile})
	file := l.write("hosts", "# a third is dead\n"+strings.Join(hosts, "\n"))
	start := time.Now()
	p, code := l.run("mysql", "--hosts-file", file, "--json")
	took := time.Since(start)
	if code != command.NotOpen {
		t.Errorf("exit %d, want %d\n%s", code, command.NotOpen, p.stderr)
	}
	states := map[string]int{}
	var slowest time.Duration
	for line := range strings.Lines(p.stdout.String()) {
		var h hostJSON
		if err := json.Unmarshal([]byte(line), &h); err != nil {
			t.Fatal(err)
		}
		states[h.State]++
		slowest = max(slowest, time.Duration(h.Results[0].MS*float64(time.Millisecond)))
	}
	t.Logf("%v after %v, the slowest took %v", states, took, slowest)
	if states["open"] != 200 || states["filtered"] != 100 {
		t.Errorf("%v, want 200 open and 100 filtered", states)
	}
	if took > 2*slowest {
		t.Errorf("all took %v, the slowest alone %v", took, slowest)
	}
	if err := p.stderr.says("knock: error: 100 of 300 hosts did not open"); err != nil {
		t.Error(err)
	}
	if n := strings.Count(p.stderr.String(), "\n"); n > 300+5 {
		t.Errorf("%d lines of words for 300 hosts", n)
	}
}

func TestATimeoutEndsTheKnocksOnDeadHosts(t *testing.T) {
	near, hosts := fleet(t)
	l := newLaptop(t, near, map[string]string{"mysql": mysqlProfile})
	start := time.Now()
	p, code := l.run("mysql@"+hosts[0], "--host", hosts[1], "--timeout", "300ms")
	if took := time.Since(start); code != command.NotOpen || took > 2*time.Second {
		t.Errorf("exit %d after %v, want %d soon after 300 ms", code, took, command.NotOpen)
	}
	for _, words := range []string{
		fmt.Sprintf("knock: mysql@%s: %[1]s open after", hosts[1]),
		fmt.Sprintf("knock: error: %s did not open in the time of --timeout", hosts[0]),
		"knock: error: 1 of 2 hosts did not open",
	} {
		if err := p.stderr.says(words); err != nil {
			t.Error(err)
		}
	}
}

func TestAHostIsOpenedOverBothFamiliesSideBySide(t *testing.T) {
	server, near := labtest.NewHost(t, "server"), labtest.NewHost(t, "laptop")
	labtest.Join(t, server, near)
	labtest.Need(t, "unshare", "mount")
	labtest.Listen(t, server, "tcp", ":3306")
	installGate(t, server, "mysql", mysqlProfile)
	l := newLaptop(t, near, map[string]string{"mysql": "host = \"db1.example.com\"\n" + mysqlProfile})
	named := func(addrs ...netip.Addr) (hostJSON, string) {
		t.Helper()
		var lines []string
		for _, a := range addrs {
			lines = append(lines, a.String()+" db1.example.com\n")
		}
		file := l.write("etc-hosts", strings.Join(lines, ""))
		// In a mount namespace of its own the name has these addresses.
		out, err := near.Run(t.Context(), "", "unshare", "-m", "sh", "-c",
			"mount --bind "+file+" /etc/hosts && exec env KNOCK_CONFIG="+l.config+" GORACE=atexit_sleep_ms=0 knock mysql --json")
		if err != nil {
			t.Fatal(err)
		}
		var h hostJSON
		if err := json.Unmarshal([]byte(out.Stdout), &h); err != nil {
			t.Fatalf("%v\n%s%s", err, out.Stdout, out.Stderr)
		}
		return h, out.Stderr
	}
	h, words := named(server.Addr6, server.Addr4)
	if len(h.Results) != 2 || h.Results[0].State != "open" || h.Results[1].State != "open" {
		t.Errorf("%+v\n%s", h, words)
	}
	// One family is dead: it is told, and neither fails the knock nor holds it up.
	dead := netip.MustParseAddr("2001:db8::dead")
	start := time.Now()
	h, words = named(dead, server.Addr4)
	if h.State != "open" || len(h.Results) != 2 || h.Results[0].State != "open" || h.Results[1].State == "open" {
		t.Errorf("%+v\n%s", h, words)
	}
	if took := time.Since(start); took > 3*time.Second { // one attempt, and the start of three programs
		t.Errorf("a dead family held the knock up for %v", took)
	}
}
