package conns_test

import (
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"knockkit/internal/kernel/conns"
	"knockkit/internal/lab/labtest"
	"knockkit/protocol"
)

func TestMain(m *testing.M) { labtest.Main(m) }

// TestAnyUserIsToldWhatListensAndNotWhatIsConnected has sockets of both kinds, of each
// protocol and family.
func TestAnyUserIsToldWhatListensAndNotWhatIsConnected(t *testing.T) {
	labtest.NeedRoot(t)
	h := labtest.NewHost(t, "server")
	labtest.Listen(t, h, "tcp", "[::]:3306")
	labtest.Listen(t, h, "tcp", "[::1]:22")
	labtest.Listen(t, h, "tcp4", "127.0.0.1:80")
	labtest.ListenPacket(t, h, "udp4", "0.0.0.0:514")
	labtest.ListenPacket(t, h, "udp6", "[::1]:53")
	for network, to := range map[string]string{"tcp": "127.0.0.1:80", "udp": "127.0.0.1:514"} {
		c, err := h.Dial(t.Context(), network, to)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	listener := func(k protocol.Knock, addr string) conns.Listener {
		return conns.Listener{Knock: k, Addr: netip.MustParseAddr(addr)}
	}
	tcp := func(port uint16) protocol.Knock { return protocol.Knock{Proto: protocol.TCP, Port: port} }
	udp := func(port uint16) protocol.Knock { return protocol.Knock{Proto: protocol.UDP, Port: port} }
	want := []conns.Listener{listener(tcp(80), "127.0.0.1"), listener(tcp(22), "::1"), listener(tcp(3306), "::"), listener(udp(514), "0.0.0.0"), listener(udp(53), "::1")}
	if err := h.Do(func() error {
		const nobody = 65534
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, nobody, nobody, nobody); errno != 0 { // of this thread only
			return errno
		}
		got, err := conns.Listeners()
		if len(got) != len(want) || slices.ContainsFunc(want, func(l conns.Listener) bool { return !slices.Contains(got, l) }) {
			t.Errorf("%v listen, not %v", got, want)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}
