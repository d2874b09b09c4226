package client

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"knockkit/protocol"
)

func TestTheAddressesThatAreKnockedOn(t *testing.T) {
	for _, c := range []struct {
		name    string
		host    string
		profile protocol.Family
		caller  protocol.Family
		source  string
		want    string
		err     string
	}{
		{name: "an address", host: "127.0.0.1", want: "127.0.0.1"},
		{name: "an IPv6 address", host: "::1", want: "::1"},
		{name: "IPv4 in IPv6 form", host: "::ffff:127.0.0.1", want: "127.0.0.1"},
		{name: "with a zone", host: "fe80::1%lo", want: "fe80::1%lo"},
		{name: "the caller's family", host: "::1", caller: protocol.IPv4,
			err: "profile mysql is knocked on over IPv4 here, but ::1 has only an IPv6 address"},
		{name: "the profile's family", host: "127.0.0.1", profile: protocol.IPv6,
			err: "profile mysql is knocked on over IPv6 here, but 127.0.0.1 has only an IPv4 address"},
		{name: "both against each other", host: "127.0.0.1", profile: protocol.IPv4, caller: protocol.IPv6,
			err: "profile mysql has no gate for IPv6"},
		{name: "the source's family", host: "127.0.0.1", source: "127.0.0.2", want: "127.0.0.1"},
		{name: "a source of the other family", host: "127.0.0.1", source: "2001:db8::1",
			err: "profile mysql is knocked on from 2001:db8::1 over IPv6 here, but 127.0.0.1 has only an IPv4 address"},
		{name: "a source against the caller's family", host: "127.0.0.1", source: "2001:db8::1", caller: protocol.IPv4,
			err: "profile mysql cannot be knocked on over IPv4 from 2001:db8::1"},
		{name: "a source against the profile's family", host: "::1", source: "2001:db8::1", profile: protocol.IPv4,
			err: "profile mysql has no gate for IPv6"},
		{name: "a zone by its number", host: "fe80::1%1", want: "fe80::1%1"},
		{name: "no such zone", host: "fe80::1%nosuch0", err: `profile mysql cannot be knocked on at fe80::1%nosuch0: this machine has no interface "nosuch0"`},
		{name: "no zone of that number", host: "fe80::1%99999", err: `profile mysql cannot be knocked on at fe80::1%99999: this machine has no interface "99999"`},
		{name: "another machine from loopback", host: "198.51.100.1", source: "127.0.0.2",
			err: "profile mysql cannot be knocked on at 198.51.100.1 from 127.0.0.2, from where this machine reaches only itself"},
		{name: "no such name", host: "nowhere.invalid", err: "the "},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := mysql()
			p.Family = c.profile
			addrs, err := resolve(t.Context(), Target{Profile: p, Host: c.host, Family: c.caller, Source: parsed(c.source)})
			if c.err != "" {
				if err == nil || !strings.HasPrefix(err.Error(), c.err) {
					t.Errorf("error %v, want %q", err, c.err)
				}
				return
			}
			if want := []netip.Addr{netip.MustParseAddr(c.want)}; err != nil || !cmp.Equal(want, addrs, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })) {
				t.Errorf("%v, error %v, want %v", addrs, err, want)
			}
		})
	}
}

// parsed returns an address; "" is the zero Addr.
func parsed(text string) (a netip.Addr) {
	if text != "" {
		a = netip.MustParseAddr(text)
	}
	return a
}

func TestASourceNarrowsTheHostToItsFamily(t *testing.T) {
	addrs := []netip.Addr{v4(), v6()}
	for _, to := range addrs {
		got, err := resolve(t.Context(), Target{Profile: mysql(), Host: "db1", Source: to.Next(), addrs: addrs})
		if err != nil || len(got) != 1 || got[0] != to {
			t.Errorf("from %s: %v, error %v, want %s", to.Next(), got, err, to)
		}
	}
}

func TestOfSeveralAddressesTheFirstOfEachFamilyIsTaken(t *testing.T) {
	addrs := []netip.Addr{v6(), netip.MustParseAddr("2001:db8::3"), v4(), netip.MustParseAddr("198.51.100.3")}
	if got := firstOf(addrs, protocol.IPv4); got != v4() {
		t.Errorf("%v, want %v", got, v4())
	}
	if got := firstOf(addrs, protocol.IPv6); got != v6() {
		t.Errorf("%v, want %v", got, v6())
	}
}

func TestCloseSendsOnlyTheCloseKnock(t *testing.T) {
	p := mysql()
	port := uint16(9001)
	p.Close = &protocol.Knock{Proto: protocol.UDP, Port: port}
	var sent []string
	r, err := Close(t.Context(), Target{Profile: p, Host: "127.0.0.1", Observe: func(e Progress) { sent = append(sent, e.Knock.String()) }})
	if err != nil || r.Outcome() != Knocked {
		t.Fatalf("%s, error %v, want knocked", r.Outcome(), err)
	}
	for _, k := range sent {
		if k != "9001/udp" {
			t.Errorf("sent %s, want the close knock alone", k)
		}
	}
	if len(p.Sequence) != 3 {
		t.Error("the caller's profile was changed")
	}
}

func TestProfilesThatCannotBeKnockedOnSaySo(t *testing.T) {
	var wrong *ProfileError
	if _, err := Close(t.Context(), Target{Profile: mysql(), Host: "127.0.0.1"}); !errors.As(err, &wrong) {
		t.Errorf("closing without a close knock: %v", err)
	}
	signed := mysql()
	signed.Signed = &protocol.Signed{}
	if _, err := Knock(t.Context(), Target{Profile: signed, Host: "127.0.0.1"}); !errors.As(err, &wrong) {
		t.Errorf("a signed profile: %v", err)
	}
}

func TestAHostIsAsGoodAsItsBestAddress(t *testing.T) {
	open := AddrResult{Addr: v6(), Outcome: Open, Took: 2 * time.Second}
	for _, c := range []struct {
		name  string
		addrs []AddrResult
		state Outcome
		addr  netip.Addr
	}{
		{"none", nil, Broken, netip.Addr{}},
		{"one open, one dead", []AddrResult{{Addr: v4(), Outcome: Filtered}, open}, Open, v6()},
		{"open beats knocked", []AddrResult{{Addr: v4(), Outcome: Knocked}, open}, Open, v6()},
		{"both open: the faster", []AddrResult{open, {Addr: v4(), Outcome: Open, Took: time.Second}}, Open, v4()},
		{"refused tells more than silence", []AddrResult{{Addr: v4(), Outcome: Filtered}, {Addr: v6(), Outcome: Refused}}, Refused, netip.Addr{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := Result{Addrs: c.addrs}
			if r.Outcome() != c.state || r.Addr() != c.addr {
				t.Errorf("%s at %v, want %s at %v", r.Outcome(), r.Addr(), c.state, c.addr)
			}
		})
	}
}

func TestErrorsOfThisMachineAreNoAnswers(t *testing.T) {
	v := &visit{shared: &shared{Target: Target{Profile: mysql()}}}
	for _, c := range []struct {
		err  error
		want Outcome
	}{
		{syscall.ENETUNREACH, Unreachable},
		{syscall.EHOSTUNREACH, Unreachable},
		{syscall.EPERM, Broken}, // a local firewall
		{syscall.EMFILE, Broken},
	} {
		if got := v.stateFor(NoReply, c.err); got != c.want {
			t.Errorf("%v: %s, want %s", c.err, got, c.want)
		}
	}
	no := &PrivilegeError{Err: syscall.EPERM}
	r := Result{Addrs: []AddrResult{{Outcome: Broken, Err: no}, {Outcome: Unreachable, Err: syscall.ENETUNREACH}}}
	if err := r.err(t.Context()); err != no {
		t.Errorf("error %v, want the missing privilege: it is what the caller can mend", err)
	}
}

func TestTheErrorOfAKnockHasItsReasonAlone(t *testing.T) {
	to := &net.UDPAddr{IP: net.IPv4(198, 51, 100, 2), Port: 31461}
	privilege := &PrivilegeError{Err: syscall.EPERM}
	for _, c := range []struct {
		err  error
		is   error
		want string
	}{
		{syscall.ENETUNREACH, syscall.ENETUNREACH, "cannot send to 198.51.100.2: network is unreachable"},
		{&net.OpError{Op: "write", Net: "udp", Addr: to, Err: os.NewSyscallError("write", syscall.EPERM)}, fs.ErrPermission, "cannot send to 198.51.100.2: operation not permitted"},
		{&net.OpError{Op: "dial", Net: "udp", Addr: to, Err: errors.ErrUnsupported}, errors.ErrUnsupported, "cannot send to 198.51.100.2: unsupported operation"},
		{fmt.Errorf("dial: %w", &net.OpError{Op: "dial", Addr: to, Err: &net.OpError{Addr: to, Err: os.ErrDeadlineExceeded}}), os.ErrDeadlineExceeded, "cannot send to 198.51.100.2: i/o timeout"},
		{privilege, privilege, "cannot send an icmp knock: operation not permitted"},
	} {
		err := unsent(v4(), c.err)
		if err.Error() != c.want || !errors.Is(err, c.is) {
			t.Errorf("%v became %v, want %s", c.err, err, c.want)
		}
	}
}

func TestAHostHasOneCanonicalForm(t *testing.T) {
	for want, written := range map[string][]string{
		"2001:db8::1":     {"2001:db8::1", "2001:DB8::1", "2001:db8:0::1", "2001:0db8:0:0:0:0:0:1"},
		"198.51.100.1":    {"198.51.100.1", "::ffff:198.51.100.1", "::FFFF:c633:6401"},
		"db1.example.com": {"db1.example.com", "DB1.example.com", "db1.Example.com."},
		"fe80::1%1":       {"fe80::1%lo", "fe80::1%1", "FE80::1%lo"},
		"fe80::1%nosuch0": {"fe80::1%nosuch0"},
		"localhost":       {"localhost", "LOCALHOST"},
		"127.0.0.1":       {"127.0.0.1"},
	} {
		for _, host := range written {
			if got := CanonicalHost(host); got != want {
				t.Errorf("%s: %s, want %s", host, got, want)
			}
		}
	}
}

func TestDialersTakeTurnsOnAHostHoweverItIsWritten(t *testing.T) {
	turns := new(Turns)
	if turns.of("2001:db8::1") != turns.of("2001:DB8:0::1") || turns.of("db1") != turns.of("DB1.") {
		t.Error("one host has two turns")
	}
	if turns.of("db1") == turns.of("db2") {
		t.Error("two hosts have one turn")
	}
	d := &Dialer{Target: Target{Profile: mysql()}}
	if d.known("db1") != d.known("DB1") {
		t.Error("one host has two leases")
	}
}
