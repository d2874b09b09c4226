package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"knockkit/client"
	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
	"knockkit/protocol"
)

// The real client knocks over a bad network. It needs a process of its own: its
// goroutines are on threads that are not inside the client's host.

// clientTask tells the process what to do, and where to write a clientResult.
const clientTask = "KNOCKKIT_TEST_CLIENT"

type task struct {
	Name, Profile, Host, Result string
}

type clientResult struct {
	State    client.Outcome
	Attempts int
}

// TestMainOfTheClientProcess is that process; in the tests' own there is no task.
func TestMainOfTheClientProcess(t *testing.T) {
	text := os.Getenv(clientTask)
	if text == "" {
		return
	}
	var todo task
	if err := json.Unmarshal([]byte(text), &todo); err != nil {
		t.Fatal(err)
	}
	result, err := client.Knock(t.Context(), client.Target{Profile: parse(t, todo.Name, todo.Profile), Host: todo.Host})
	if err != nil {
		t.Log(err) // the result says it too
	}
	out, err := json.Marshal(clientResult{result.Outcome(), result.Addrs[0].Attempts})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(todo.Result, out, 0o600); err != nil {
		t.Fatal(err)
	}
}

// knockFrom runs the client on a host.
func knockFrom(t *testing.T, from *lab.Host, to netip.Addr, name, profile string) clientResult {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	todo := task{name, profile, to.String(), filepath.Join(t.TempDir(), "result.json")}
	text, err := json.Marshal(todo)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, self, "-test.run=^TestMainOfTheClientProcess$", "-test.v")
	cmd.Env = append(os.Environ(), clientTask+"="+string(text), "GORACE=atexit_sleep_ms=0")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := labtest.Start(t, from, cmd)(); err != nil {
		t.Fatalf("the client: %v\n%s", err, out.String())
	}
	written, err := os.ReadFile(todo.Result)
	if err != nil {
		t.Fatal(err)
	}
	var result clientResult
	if err := json.Unmarshal(written, &result); err != nil {
		t.Fatal(err)
	}
	return result
}

func TestABadNetworkDoesNotStartTheClientOver(t *testing.T) {
	const runs = 10 // on each backend, half of them over each family
	const profile = `sequence = ["icmp", "7/tcp", "53/udp", "8000/tcp"]
open = ["3306/tcp"]`
	delay := 5 * time.Millisecond
	for _, test := range []struct {
		name             string
		toHost, toClient lab.Conditions
	}{
		{"a fifth of the packets doubled", lab.Conditions{Duplicate: 0.2, Delay: delay}, lab.Conditions{Duplicate: 0.2, Delay: delay}},
		{"every packet doubled", lab.Conditions{Duplicate: 1}, lab.Conditions{Duplicate: 1}},
		{"answers overtake each other", lab.Conditions{Delay: delay}, lab.Conditions{Delay: 4 * delay, Reorder: 0.5}},
	} {
		t.Run(test.name, func(t *testing.T) {
			eachBackend(t, func(t *testing.T, name string) {
				s := newSite(t, name, strict())
				s.listen(3306)
				s.install(parse(t, "web", profile))
				for i := range runs {
					test.toHost.Seed, test.toClient.Seed = uint64(i), uint64(i)
					if got := s.knockOver(test.toHost, test.toClient, protocol.Families()[i%2], profile); got.State != client.Open || got.Attempts != 1 {
						t.Errorf("run %d: %s after %d attempts, want open after 1", i, got.State, got.Attempts)
					}
				}
			})
		})
	}
}

// knockOver knocks from a new client host over a link of its own.
func (s *site) knockOver(toHost, toClient lab.Conditions, family protocol.Family, profile string) clientResult {
	s.t.Helper()
	from := labtest.NewHost(s.t, "client")
	link := labtest.Connect(s.t, from, s.host, lab.Conditions{})
	defer link.Close()
	if err := errors.Join(link.SetToward(s.host, toHost), link.SetToward(from, toClient)); err != nil {
		s.t.Fatal(err)
	}
	on := s.host.Interfaces[len(s.host.Interfaces)-1]
	to := on.Addr4.Addr()
	if family == protocol.IPv6 {
		to = on.Addr6.Addr()
	}
	return knockFrom(s.t, from, to, "web", profile)
}
