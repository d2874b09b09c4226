package client_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"knockkit/client"
	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
	"knockkit/protocol"
	"knockkit/protocol/format"
	"knockkit/server"
)

const article = `sequence = ["icmp", "echo/tcp", "8000/tcp"]
open = ["3306/tcp"]
`

// order is what a child is told, as JSON in its environment.
type order struct {
	Profile string // its text
	Address string // HOST:PORT
	User    string
	Pass    string
}

func (o order) dialer() (*client.Dialer, *atomic.Int32, error) {
	p, problems := format.ParseProfile("mysql.toml", []byte(o.Profile))
	if problems.HasErrors() {
		return nil, nil, problems
	}
	knocks := new(atomic.Int32)
	t := client.Target{Profile: p, Observe: func(e client.Progress) {
		if e.Step == 0 && e.Reply == "" {
			knocks.Add(1)
		}
	}}
	return &client.Dialer{Target: t}, knocks, nil
}

func readOrder() (o order, err error) {
	return o, json.Unmarshal([]byte(os.Getenv("KNOCK_TEST_ORDER")), &o)
}

// child runs this program inside a host, with one of the tasks of children.
func child(t *testing.T, h *lab.Host, task string, o order) {
	t.Helper()
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), childMark+"="+task, "KNOCK_TEST_ORDER="+string(text))
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := labtest.Start(t, h, cmd)(); err != nil {
		t.Errorf("%s: %v\n%s", task, err, out.String())
	}
}

// sides returns knockd on a host behind the article's gate, that host, and a client's.
func sides(t *testing.T) (*server.Server, *lab.Host, *lab.Host) {
	t.Helper()
	labtest.NeedRoot(t)
	labtest.Need(t, "iptables-restore")
	far, near := labtest.NewHost(t, "server"), labtest.NewHost(t, "client")
	labtest.Join(t, far, near)
	p, problems := format.ParseProfile("mysql.toml", []byte(article))
	b, _, err := server.OpenBackend(t.Context(), "iptables")
	if err != nil || problems.HasErrors() {
		t.Fatal(err, problems)
	}
	knockd := server.New(b, server.DefaultSettings())
	if err := far.Do(func() error {
		_, err := knockd.Install(t.Context(), []*protocol.Profile{p}, server.InstallOptions{})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return knockd, far, near
}

func TestTheExamplesDatabaseIsReachedThroughItsGate(t *testing.T) {
	_, host, near := sides(t)
	db := labtest.MariaDB(t, host)
	child(t, near, "database", order{article, net.JoinHostPort(host.Addr4.String(), "3306"), db.User, db.Password})
}

func databaseChild() error {
	o, err := readOrder()
	if err != nil {
		return err
	}
	d, knocks, err := o.dialer()
	if err != nil {
		return err
	}
	db, err := shopDatabase(d, o.User, o.Pass, o.Address)
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetMaxIdleConns(0) // every query gets a connection of its own
	var all sync.WaitGroup
	var failed atomic.Value
	for i := range 20 {
		all.Go(func() {
			var got int
			if err := db.QueryRow("SELECT ? + 1", i).Scan(&got); err != nil {
				failed.Store(err)
			} else if got != i+1 {
				failed.Store(fmt.Errorf("%d + 1 is %d", i, got))
			}
		})
	}
	all.Wait()
	if err, ok := failed.Load().(error); ok {
		return err
	}
	if n := knocks.Load(); n != 1 {
		return fmt.Errorf("%d knocks for 20 connections, want 1", n)
	}
	return nil
}

func TestTwoHundredDialsAtOnceAreOneKnockAndLeaveNothingBehind(t *testing.T) {
	knockd, host, near := sides(t)
	l := labtest.Listen(t, host, "tcp", ":3306")
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			defer c.Close() // when the test has ended
		}
	}()
	child(t, near, "burst", order{Profile: article, Address: net.JoinHostPort(host.Addr4.String(), "3306")})
	var st server.Status
	if err := host.Do(func() (err error) { st, err = knockd.Status(t.Context(), nil, nil); return err }); err != nil || len(st.Sources) != 1 {
		t.Errorf("%d sources are known on the server, want 1 (%v)", len(st.Sources), err)
	}
}

func burstChild() error {
	o, err := readOrder()
	if err != nil {
		return err
	}
	d, knocks, err := o.dialer()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	sockets, goroutines := openSockets(), runtime.NumGoroutine()
	conns := make(chan net.Conn, 200)
	errs := make(chan error, 200)
	for range 200 {
		go func() {
			c, err := d.DialContext(ctx, "tcp", o.Address)
			if err != nil {
				errs <- err
				return
			}
			conns <- c
		}()
	}
	var open []net.Conn
	for range 200 {
		select {
		case c := <-conns:
			open = append(open, c)
		case err := <-errs:
			return err
		}
	}
	if n := knocks.Load(); n != 1 {
		return fmt.Errorf("%d knocks, want 1", n)
	}
	for _, c := range open {
		c.Close()
	}
	for openSockets() > sockets || runtime.NumGoroutine() > goroutines {
		if ctx.Err() != nil {
			return fmt.Errorf("%d sockets and %d goroutines are left, before %d and %d",
				openSockets(), runtime.NumGoroutine(), sockets, goroutines)
		}
		time.Sleep(time.Millisecond)
	}
	return nil
}

func openSockets() (n int) {
	fds, _ := filepath.Glob("/proc/self/fd/*")
	for _, fd := range fds {
		if to, err := os.Readlink(fd); err == nil && strings.HasPrefix(to, "socket:") {
			n++
		}
	}
	return n
}
