package server_test

import (
	"errors"
	"net/netip"
	"testing"

	"knockkit/protocol"
	"knockkit/server"
)

func TestTheVariableOfSSHNamesTheClientAndTheServersPort(t *testing.T) {
	for _, c := range []struct {
		name, text, client string
		port               uint16 // 0: it is no session
	}{
		{"IPv4", "198.51.100.7 51000 198.51.100.1 22", "198.51.100.7", 22},
		{"IPv6", "2001:db8::7 51000 2001:db8::1 2222", "2001:db8::7", 2222},
		{"IPv4 in IPv6 form", "::ffff:198.51.100.7 51000 ::ffff:198.51.100.1 22", "198.51.100.7", 22},
		{"a zone", "fe80::1%eth0 51000 fe80::2%eth0 22", "fe80::1%eth0", 22},
		{"empty", "", "", 0},
		{"the older SSH_CLIENT", "198.51.100.7 51000 22", "", 0},
		{"a name", "laptop 51000 server 22", "", 0},
		{"a port that is none", "198.51.100.7 51000 198.51.100.1 70000", "", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, ok := server.ParseSession(c.text)
			switch {
			case ok != (c.port != 0):
				t.Errorf("a session: %v", ok)
			case ok && (s.Client != netip.MustParseAddr(c.client) || s.Port != c.port):
				t.Errorf("got %+v", s)
			}
		})
	}
}

func TestANewGateOverTheSessionsPortIsRefused(t *testing.T) {
	four := server.Session{Client: netip.MustParseAddr("198.51.100.7"), Port: 22}
	six := server.Session{Client: netip.MustParseAddr("2001:db8::7"), Port: 22}
	for _, c := range []struct {
		name    string
		session server.Session
		more    string // keys of the profile beside its sequence
		refused bool
	}{
		{"the port", four, `open = ["22/tcp"]`, true},
		{"in a range", four, `open = ["80/tcp", "20-30/tcp"]`, true},
		{"over IPv6", six, `open = ["22/tcp"]`, true},
		{"another port", four, `open = ["2222/tcp"]`, false},
		{"the port of UDP", four, `open = ["22/udp"]`, false},
		{"the other family", six, "open = [\"22/tcp\"]\nfamily = \"ipv4\"", false},
		{"the session's family", six, "open = [\"22/tcp\"]\nfamily = \"ipv6\"", true},
		// Whether the session is to that address is not known here: better refused.
		{"one address of the host", four, "open = [\"22/tcp\"]\nto = [\"198.51.100.200/32\"]", true},
		{"no address of the family", four, "open = [\"22/tcp\"]\nto = [\"2001:db8::1/128\"]", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := parse(t, "ssh", "sequence = [\"1001/tcp\", \"1002/tcp\"]\n"+c.more)
			err := server.RefuseLockout(c.session)([]*protocol.Profile{p})
			lockout := new(server.LockoutError)
			if errors.As(err, &lockout) != c.refused || c.refused && (lockout.Profile != "ssh" || lockout.Session != c.session) {
				t.Errorf("got %v", err)
			}
		})
	}
}
