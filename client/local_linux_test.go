package client_test

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"

	"knockkit/client"
	"knockkit/internal/lab/labtest"
)

// sourcesChild writes which of the addresses of its environment nothing can leave from, and why.
func sourcesChild() error {
	for _, text := range strings.Fields(os.Getenv("SOURCES")) {
		fmt.Println(text, client.Target{Source: netip.MustParseAddr(text)}.CheckLocal())
	}
	return nil
}

func TestASourceIsAnAddressThatPacketsLeaveFrom(t *testing.T) {
	a, b := labtest.NewHost(t, "laptop"), labtest.NewHost(t, "server")
	labtest.Join(t, a, b)
	labtest.MustRun(t, a, "", "ip", "addr", "add", "192.0.2.17/28", "broadcast", "192.0.2.20", "dev", "eth0") // an odd one
	labtest.MustRun(t, a, "", "ip", "addr", "add", "192.0.2.18/28", "dev", "eth0")                            // not the first of its prefix
	labtest.MustRun(t, a, "", "ip", "route", "add", "local", "203.0.113.0/24", "dev", "lo")
	missing := func(addr string) string { return "this machine does not have the address " + addr }
	none := func(addr string) string { return addr + " is no address of a machine" }
	var texts []string
	var want strings.Builder
	for _, c := range []struct {
		addr string
		err  func(string) string // nil: none
	}{
		{a.Addr4.String(), nil},
		{a.Addr6.String(), nil},
		{"192.0.2.17", nil},
		{"192.0.2.18", nil},
		{"127.0.0.1", nil},
		{"127.4.5.6", nil},     // all of 127.0.0.0/8 is local, and no interface lists it
		{"203.0.113.255", nil}, // so is the whole prefix of such a route
		{"192.0.2.20", missing},
		{"127.255.255.255", missing},
		{"255.255.255.255", missing},
		{"192.0.2.19", missing},
		{b.Addr4.String(), missing},
		{"224.0.0.1", none},
		{"ff02::1", none},
		{"0.0.0.0", none},
	} {
		err := "<nil>"
		if c.err != nil {
			err = c.err(c.addr)
		}
		texts = append(texts, c.addr)
		fmt.Fprintln(&want, c.addr, err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var out, problems strings.Builder
	cmd := &exec.Cmd{Path: self, Env: append(os.Environ(), childMark+"=sources", "SOURCES="+strings.Join(texts, " ")), Stdout: &out, Stderr: &problems}
	if err := labtest.Start(t, a, cmd)(); err != nil || out.String() != want.String() {
		t.Errorf("%v %s\n%s\nwant\n%s", err, problems.String(), out.String(), want.String())
	}
}
