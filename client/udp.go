package client

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// udpFlight waits for what a datagram brings back.
type udpFlight struct{ conn *net.UDPConn }

// sendDatagram sends one byte: some firewalls drop empty datagrams.
func sendDatagram(to netip.AddrPort) (flight, error) {
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		return nil, fmt.Errorf("send to %s/udp: %w", to, err)
	}
	if _, err := conn.Write([]byte{0}); err != nil {
		conn.Close()
		return nil, fmt.Errorf("send to %s/udp: %w", to, err)
	}
	return &udpFlight{conn}, nil
}

func (f *udpFlight) wait(ctx context.Context, until time.Time) Reply {
	defer f.conn.Close()
	stop := endWith(ctx, f.conn.SetReadDeadline, until)
	defer stop()
	if _, err := f.conn.Read(make([]byte, 1)); err != nil {
		reply, _ := replyOf(err)
		return reply
	}
	return Answered
}
