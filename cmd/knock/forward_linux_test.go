package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
)

const mysqlProfile = `sequence = ["icmp", "echo/tcp", "8000/tcp"]
open = ["3306/tcp"]
`

// forwarding starts "knock forward" and waits until it listens.
func (l *laptop) forwarding(args ...string) *program {
	l.t.Helper()
	p := l.start(append([]string{"forward"}, args...)...)
	labtest.Eventually(l.t, 10*time.Second, func() error { return p.stderr.says("listens for") })
	return p
}

// end sends Ctrl-C and expects the program to end well.
func (p *program) end(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := p.wait(); err != nil {
		t.Errorf("after ctrl-c: %v\n%s", err, p.stderr)
	}
}

func TestMariaDBsClientUsesTheForwardedPort(t *testing.T) {
	server, near := labtest.NewHost(t, "server"), labtest.NewHost(t, "laptop")
	labtest.Join(t, server, near)
	db := labtest.MariaDB(t, server)
	gate := installGate(t, server, "mysql", mysqlProfile)
	l := newLaptop(t, near, map[string]string{"mysql": "host = \"" + server.Addr4.String() + "\"\n" + mysqlProfile})
	f := l.forwarding("mysql")
	login := []string{"--no-defaults", "--host=127.0.0.1", "--user=" + db.User, "--password=" + db.Password, "--max-allowed-packet=64M"}
	query := func(sql string) string {
		t.Helper()
		return labtest.MustRun(t, near, sql, "mariadb", append(login, "--batch", "--skip-column-names", db.Name)...)
	}
	if out := query("SELECT 6*7"); out != "42\n" {
		t.Fatalf("the database says %q", out)
	}
	// What a dump is made of: 200,000 rows, about 20 MB, there and back.
	query("CREATE TABLE orders (id INT PRIMARY KEY, note VARCHAR(100)); INSERT INTO orders SELECT seq, REPEAT('x', 90) FROM seq_1_to_200000")
	dump := labtest.MustRun(t, near, "", "mariadb-dump", append(login, db.Name, "orders")...)
	if len(dump) < 15<<20 {
		t.Fatalf("the dump has %d bytes", len(dump))
	}
	query("DROP TABLE orders")
	query(dump)
	if out := query("SELECT COUNT(*), SUM(LENGTH(note)) FROM orders"); out != "200000\t18000000\n" {
		t.Errorf("after the dump was read back: %q", out)
	}
	// Many at once, and all after the lease was revoked.
	gate.revoke(near.Addr4)
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			out := labtest.Run(t, near, fmt.Sprintf("SELECT %d", i), "mariadb", append(login, "--batch", "--skip-column-names")...)
			if out.Stdout != fmt.Sprintf("%d\n", i) {
				t.Errorf("query %d: %q %s", i, out.Stdout, out.Stderr)
			}
		})
	}
	all.Wait()
	f.end(t)
	if strings.Contains(f.stderr.String(), "warning") || strings.Contains(f.stderr.String(), "error") {
		t.Errorf("it said %s", f.stderr)
	}
}

// echoing answers what it is sent on port 3306 of a host.
func echoing(t *testing.T, h *lab.Host) {
	t.Helper()
	l := labtest.Listen(t, h, "tcp", ":3306")
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
}

// says sends a word over a connection and expects it back.
func says(c net.Conn, word string) error {
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	if _, err := io.WriteString(c, word); err != nil {
		return err
	}
	back := make([]byte, len(word))
	if _, err := io.ReadFull(c, back); err != nil || string(back) != word {
		return fmt.Errorf("%q came back: %w", back, err)
	}
	return nil
}

func TestAnOpenConnectionOutlivesALeaseThatCutsBecauseItIsRenewed(t *testing.T) {
	server, near := labtest.NewHost(t, "server"), labtest.NewHost(t, "laptop")
	labtest.Join(t, server, near)
	echoing(t, server)
	profile := mysqlProfile + "lease = \"2s\"\ncut = true\n"
	installGate(t, server, "mysql", profile)
	l := newLaptop(t, near, map[string]string{"mysql": profile})
	f := l.forwarding("mysql@"+server.Addr4.String(), "0")
	c, err := near.Dial(t.Context(), "tcp", f.listens(t))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	start := time.Now()
	for time.Since(start) < 5*time.Second { // two leases and a half
		if err := says(c, "still there"); err != nil {
			t.Fatalf("after %v: %v\n%s", time.Since(start), err, f.stderr)
		}
		time.Sleep(50 * time.Millisecond) // the pace of the conversation, not a wait for anything
	}
	f.end(t)
}

// listens returns the address that forward said it listens on.
func (p *program) listens(t *testing.T) string {
	t.Helper()
	_, text, ok := strings.Cut(p.stderr.String(), "knock: ")
	address, _, found := strings.Cut(text, " listens for")
	if !ok || !found {
		t.Fatalf("it said %q", p.stderr)
	}
	return address
}

func TestForwardKnocksOnlyWhenSomebodyComesAndSaysWhatFails(t *testing.T) {
	server, near := labtest.NewHost(t, "server"), labtest.NewHost(t, "laptop")
	labtest.Join(t, server, near)
	gate := installGate(t, server, "mysql", mysqlProfile)
	l := newLaptop(t, near, map[string]string{"mysql": "host = \"" + server.Addr4.String() + "\"\n" + mysqlProfile})
	f := l.forwarding("mysql", "127.0.0.1:13306")
	if n := len(gate.sources().Sources); n != 0 {
		t.Errorf("%d sources knocked before anybody came", n)
	}
	// Nothing listens on the server: the connection here is reset, and the reasons
	// are on the other stream.
	c, err := near.Dial(t.Context(), "tcp", "127.0.0.1:13306")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := says(c, "anybody?"); err == nil {
		t.Error("somebody answered")
	}
	labtest.Eventually(t, 10*time.Second, func() error {
		return f.stderr.says("knock: error: mysql: " + server.Addr4.String() + " did not open")
	})
	labtest.Eventually(t, 10*time.Second, func() error {
		return f.stderr.says("knock: hint: perhaps it opened, and nothing listens on 3306/tcp there\n")
	})
	// Many connections that wait for one knock get one warning, or as many as there were knocks.
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			if c, err := near.Dial(t.Context(), "tcp", "127.0.0.1:13306"); err == nil {
				defer c.Close()
				if err := says(c, "anybody?"); err == nil {
					t.Error("somebody answered")
				}
			}
		})
	}
	all.Wait()
	labtest.Eventually(t, 10*time.Second, func() error {
		said := f.stderr.String()
		if knocks, failures := strings.Count(said, ": knocking on "), strings.Count(said, "error"); knocks != failures || knocks < 2 {
			return fmt.Errorf("%d knocks, %d errors:\n%s", knocks, failures, said)
		}
		return nil
	})
	echoing(t, server)
	d, err := near.Dial(t.Context(), "tcp", "127.0.0.1:13306")
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := says(d, "now"); err != nil {
		t.Error(err)
	}
	f.end(t) // also with a connection open
	if _, err := os.Stat(fmt.Sprintf("/proc/%d", f.cmd.Process.Pid)); err == nil {
		t.Error("the process is still there")
	}
}

// TestTwoForwardsToOneHostTakeTurnsAndSayWhatTheyDo: their sequences would be events in each
// other's, and each first connection comes at the same moment.
func TestTwoForwardsToOneHostTakeTurnsAndSayWhatTheyDo(t *testing.T) {
	server, near := labtest.NewHost(t, "server"), labtest.NewHost(t, "laptop")
	labtest.Join(t, server, near)
	echoing(t, server)
	host := "host = \"" + server.Addr4.String() + "\"\n"
	redisProfile := "sequence = [\"7001/tcp\", \"7002/udp\"]\nopen = [\"3307/tcp\"]\nlease = \"3s\"\nclient.attempts = 1\n"
	gate := installGate(t, server, "mysql", mysqlProfile)
	installGate(t, server, "redis", redisProfile)
	other := labtest.Listen(t, server, "tcp", ":3307")
	go func() {
		for {
			c, err := other.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c) }()
		}
	}()
	l := newLaptop(t, near, map[string]string{"mysql": host + "client.attempts = 1\n" + mysqlProfile, "redis": host + redisProfile})
	f := l.forwarding("mysql:13306", "redis:127.0.0.1:16379")
	var both sync.WaitGroup
	for _, port := range []string{"13306", "16379"} {
		both.Go(func() {
			c, err := near.Dial(t.Context(), "tcp", "127.0.0.1:"+port)
			if err != nil {
				t.Error(err)
				return
			}
			t.Cleanup(func() { c.Close() })
			if err := says(c, "hello"); err != nil {
				t.Errorf("%s: %v", port, err)
			}
		})
	}
	both.Wait()
	addr := server.Addr4.String()
	for _, words := range []string{
		"knock: mysql: knocking on " + addr + ": no lease yet\n",
		"knock: redis: knocking on " + addr + ": no lease yet\n",
		"ms, open for 1h\n", "ms, open for 3s\n",
		"knock: redis: knocking on " + addr + ": the lease ends soon\n",
	} {
		labtest.Eventually(t, 10*time.Second, func() error { return f.stderr.says(words) })
	}
	gate.revoke(near.Addr4)
	c, err := near.Dial(t.Context(), "tcp", "127.0.0.1:13306")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := says(c, "again"); err != nil {
		t.Error(err)
	}
	labtest.Eventually(t, 10*time.Second, func() error {
		return f.stderr.says("knock: mysql: knocking on " + addr + ": the lease did not let a connection in\n")
	})
	if p, _ := l.run("status"); !strings.Contains(p.stdout.String(), "mysql") || !strings.Contains(p.stdout.String(), "redis") {
		t.Errorf("status: %s%s", p.stdout, p.stderr)
	}
	f.end(t)
}
