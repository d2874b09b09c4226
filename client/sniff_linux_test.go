package client

import (
	"encoding/binary"
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// sniff watches loopback. The function it returns gives the source ports of the
// SYNs that went to port from then on until a time.
func sniff(t *testing.T, port uint16) func(until time.Time) []uint16 {
	t.Helper()
	network := binary.BigEndian.AppendUint16(nil, unix.ETH_P_IP) // a protocol is given in network order
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, int(binary.NativeEndian.Uint16(network)))
	if err != nil {
		needs(t, "a packet socket", err)
	}
	socket := os.NewFile(uintptr(fd), "packet")
	t.Cleanup(func() { socket.Close() })
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: binary.NativeEndian.Uint16(network), Ifindex: lo.Index})
	if err != nil {
		t.Fatal(err)
	}
	return func(until time.Time) (sources []uint16) {
		if err := socket.SetReadDeadline(until); err != nil {
			t.Fatal(err)
		}
		raw, err := socket.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 1<<16)
		for {
			var n int
			var from unix.Sockaddr
			var recvErr error
			err := raw.Read(func(fd uintptr) bool {
				n, from, recvErr = unix.Recvfrom(int(fd), buf, 0)
				return !errors.Is(recvErr, unix.EAGAIN)
			})
			if err != nil {
				return sources
			}
			if recvErr != nil {
				t.Fatal(recvErr)
			}
			// Loopback shows each packet twice: leaving and coming in.
			if ll, ok := from.(*unix.SockaddrLinklayer); !ok || ll.Pkttype != unix.PACKET_HOST {
				continue
			}
			if source, ok := synTo(buf[:n], port); ok {
				sources = append(sources, source)
			}
		}
	}
}

// synTo returns the source port of an IPv4 packet that is a SYN to port.
func synTo(packet []byte, port uint16) (uint16, bool) {
	if len(packet) < 20 || packet[9] != unix.IPPROTO_TCP {
		return 0, false
	}
	tcp := packet[int(packet[0]&0xf)*4:]
	const syn, ack = 0x02, 0x10
	if len(tcp) < 20 || binary.BigEndian.Uint16(tcp[2:]) != port || tcp[13]&(syn|ack) != syn {
		return 0, false
	}
	return binary.BigEndian.Uint16(tcp), true
}
