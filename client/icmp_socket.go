//go:build !windows

package client

import (
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"

	"knockkit/protocol"
)

// icmpFlight waits for an echo reply.
type icmpFlight struct {
	conn *icmp.PacketConn
	to   netip.Addr
	id   int    // 0: a ping socket, which gets no one else's replies
	data []byte // the payload
}

// sendEcho sends an echo request from a ping socket, which needs no privilege
// where the system allows it, else from a raw one. The error is a
// [*PrivilegeError] when neither may be had.
func (n network) sendEcho(to netip.Addr, token *protocol.Token) (flight, error) {
	f := &icmpFlight{to: to, data: echoData(token)}
	var err error
	if f.conn, err = n.listen(to, "udp4", "udp6"); err != nil {
		// Identifiers are drawn anew for each request, so that the server sees a
		// new flow. The ping socket's kernel does the same.
		f.id = 1 + rand.IntN(1<<16-1)
		if f.conn, err = n.listen(to, "ip4:icmp", "ip6:ipv6-icmp"); err != nil {
			if errors.Is(err, fs.ErrPermission) {
				return nil, &PrivilegeError{Commands: pingCommands(), Err: err}
			}
			return nil, err
		}
	}
	if err := f.send(); err != nil {
		f.conn.Close()
		return nil, err
	}
	return f, nil
}

func (n network) listen(to netip.Addr, v4, v6 string) (*icmp.PacketConn, error) {
	family, on := v4, netip.IPv4Unspecified()
	if to.Is6() {
		family, on = v6, netip.IPv6Unspecified()
	}
	if n.source.IsValid() {
		on = n.source
	}
	conn, err := icmp.ListenPacket(family, on.String())
	if err != nil || n.device == nil {
		return conn, err
	}
	// The package makes the socket by itself; here it can be reached.
	var inner net.PacketConn
	if to.Is4() {
		inner = conn.IPv4PacketConn().PacketConn
	} else {
		inner = conn.IPv6PacketConn().PacketConn
	}
	raw, err := inner.(syscall.Conn).SyscallConn()
	if err == nil {
		err = n.prepareRaw(raw, to.Is6())
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// echoData returns the payload of an echo request, of the size of ping's own. With a token it is
// built as that of Linux' ping on 64 bits: 16 bytes that change, where ping has the time, then each
// byte's own number.
func echoData(token *protocol.Token) []byte {
	data := make([]byte, 56)
	if token == nil {
		return data
	}
	for i := range data {
		data[i] = byte(i)
	}
	copy(data, token[:])
	return data
}

func (f *icmpFlight) send() error {
	m := icmp.Message{Type: ipv4.ICMPTypeEcho}
	if f.to.Is6() {
		m.Type = ipv6.ICMPTypeEchoRequest
	}
	m.Body = &icmp.Echo{ID: f.id, Seq: 1, Data: f.data}
	// The kernel fills in the checksum of ICMPv6, which covers the addresses.
	packet, err := m.Marshal(nil)
	if err != nil {
		return err
	}
	_, err = f.conn.WriteTo(packet, f.address())
	return err
}

func (f *icmpFlight) address() net.Addr {
	ip, zone := net.IP(f.to.AsSlice()), f.to.Zone()
	if f.id == 0 {
		return &net.UDPAddr{IP: ip, Zone: zone}
	}
	return &net.IPAddr{IP: ip, Zone: zone}
}

func (f *icmpFlight) wait(ctx context.Context, until time.Time) Reply {
	defer f.conn.Close()
	stop := endWith(ctx, f.conn.SetReadDeadline, until)
	defer stop()
	buf := make([]byte, 1500)
	for {
		n, _, err := f.conn.ReadFrom(buf)
		if err != nil {
			reply, _ := replyOf(err)
			return reply
		}
		if f.isReply(buf[:n]) {
			return Answered
		}
	}
}

// isReply reports whether a packet is our echo reply. A raw socket receives others too: our own
// request on loopback, and other programs' replies.
func (f *icmpFlight) isReply(packet []byte) bool {
	number := ipv4.ICMPTypeEcho.Protocol()
	if f.to.Is6() {
		number = ipv6.ICMPTypeEchoRequest.Protocol()
	}
	m, err := icmp.ParseMessage(number, packet)
	if err != nil || m.Type != ipv4.ICMPTypeEchoReply && m.Type != ipv6.ICMPTypeEchoReply {
		return false
	}
	echo, ok := m.Body.(*icmp.Echo)
	return ok && (f.id == 0 || echo.ID == f.id)
}
