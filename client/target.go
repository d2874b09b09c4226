package client

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"knockkit/internal/files"
	"knockkit/protocol"
	"knockkit/protocol/format"
)

// Target says what to knock on.
type Target struct {
	Profile *protocol.Profile
	Host    string          // a name or an address; IPv6 without brackets
	Family  protocol.Family // narrows what the profile and the host have; Both for any

	// Source is the address from which every packet leaves: knocks, the check, and
	// a Dialer's connections. It narrows the knocking to its family. The zero Addr
	// lets the system choose. Which way packets go remains a matter of routes. IPv6
	// that is link-local needs its zone, or Interface.
	Source netip.Addr

	// Interface is the name of the network interface over which every packet
	// leaves, whatever the routes say; "" for any. Linux (unprivileged since 5.7)
	// and macOS only: elsewhere it is an error. Names are looked up as always.
	Interface string

	// Key makes the tokens of a signed profile, which needs one; others have none.
	Key *protocol.Key

	// Indexes sees to it that no token is sent by two attempts, which may be those of several programs:
	// see [IndexFiles]. nil: the attempts of one [Knock] or [Dialer] know of each other.
	Indexes Indexes

	// Waits, if set, is told when a signed knock has to wait because all tokens of a slot are used, and
	// until when: the time may have come again to wait for the slot after that. Calls overlap neither
	// each other nor those of Observe.
	Waits func(until time.Time)

	// NoVerify leaves the check out, as the profile's `verify = false` does.
	NoVerify bool

	// Plain sends each knock once, exactly the profile's gap apart, and checks
	// nothing: for servers that take a repeated knock for a wrong one.
	Plain bool

	// Observe, if set, is told of every packet when it left and again when
	// something came back. Calls never overlap. It must return quickly: the
	// next knock waits for it.
	Observe func(Progress)

	// first ends the knocking on one address when another has opened.
	first bool

	// closing says that the close knock is sent.
	closing bool

	// addrs, if set, are those of the host.
	addrs []netip.Addr

	// turn, if set, waits until the first sequence may be sent, and is told when
	// it was.
	turn func(context.Context) (sent func(), err error)
}

// Progress is a packet that left, or the reply to it.
type Progress struct {
	Addr netip.Addr
	Step int // index in the sequence, 0 for a signed knock; the number of knocks for the check
	Packet
}

// ReadProfile reads a profile's file, of which the name is the profile's. The error is that of
// the file system, or has all mistakes of the file, each with its line.
func ReadProfile(file string) (*protocol.Profile, error) { return format.ReadProfile(file) }

// ReadKey reads the file of a signed profile's key, for [Target.Key]. The error is that of the file
// system, or has all mistakes of the file, each with its line.
func ReadKey(file string) (*format.KeyFile, error) {
	text, err := files.Read(file, format.MaxKeyFileSize)
	if err != nil {
		return nil, err
	}
	key, problems := format.ParseKeyFile(file, text)
	if problems.HasErrors() {
		return nil, problems
	}
	return key, nil
}

// verified reports whether a TCP connection can tell that the profile opened.
// For a profile with `once`, the check would use the lease up.
func (t Target) verified() bool {
	_, ok := checkPort(t.Profile)
	return ok && !t.NoVerify && !t.Plain && t.Profile.Client.Verify && !t.Profile.Once
}

// checkPort returns the first opened TCP port.
func checkPort(p *protocol.Profile) (protocol.Knock, bool) {
	for _, r := range p.Open {
		if r.Proto == protocol.TCP {
			return protocol.Knock{Proto: protocol.TCP, Port: r.First}, true
		}
	}
	return protocol.Knock{}, false
}

// CanonicalHost returns the one form for all ways to write a host: an address in its shortest form,
// as IPv4 where IPv6 only carries that, with the number of its zone; a name in lower case, without
// the dot at its end. Names are not looked up: two names of one machine stay two.
func CanonicalHost(host string) string {
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return strings.ToLower(strings.TrimSuffix(host, "."))
	}
	addr = addr.Unmap()
	if n := zoneNumber(addr.Zone()); n > 0 {
		addr = addr.WithZone(strconv.Itoa(int(n)))
	}
	return addr.String()
}

// zoneNumber returns the number of the interface in fe80::1%eth0; 0 for none
// and for one that this machine does not have.
func zoneNumber(zone string) uint32 {
	if i, err := net.InterfaceByName(zone); err == nil {
		return uint32(i.Index)
	}
	n, err := strconv.ParseUint(zone, 10, 31)
	if err != nil {
		return 0
	}
	if _, err := net.InterfaceByIndex(int(n)); err != nil {
		return 0
	}
	return uint32(n)
}
