package main

import (
	"io"
	"net/netip"
	"os/exec"
	"sync/atomic"
	"testing"
	"time"

	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
	"knockkit/protocol"
)

// ladder is a long sequence. Its second attempt waits 750 ms for each answer that does not come, so that
// a silent family falls seconds behind. Where it begins half a second later, by chance, it is in the
// middle of that attempt all the same when the other family opens, after 2.4 s of its own.
const ladder = `sequence = ["icmp", "1201/tcp", "1202/tcp", "1203/tcp", "1204/tcp", "1205/tcp", "1206/tcp", "1207/tcp",
	"1208/tcp", "1209/tcp", "1210/tcp", "1211/tcp", "1212/tcp", "1213/tcp", "1214/tcp", "1215/tcp"]
open = ["2222/tcp"]
client = { gap = "150ms" }
`

// atName starts knock where the name db1.example.com has addresses.
func (l *laptop) atName(addrs []netip.Addr, args ...string) *program {
	l.t.Helper()
	labtest.Need(l.t, "unshare", "mount")
	text := ""
	for _, a := range addrs {
		text += a.String() + " db1.example.com\n"
	}
	// A mount namespace has an /etc/hosts of its own.
	p := &program{stdout: new(buffer), stderr: new(buffer)}
	p.cmd = exec.Command("unshare", append([]string{"-m", "sh", "-c", `mount --bind "$0" /etc/hosts && exec knock "$@"`,
		l.write("etc-hosts", text)}, args...)...)
	p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = l.env(), p.stdout, p.stderr
	p.wait = labtest.Start(l.t, l.host, p.cmd)
	return p
}

// parsed closes a tap and returns what a host sent.
func parsed(t *testing.T, tap *lab.Tap, from *lab.Host) (packets []lab.Packet) {
	t.Helper()
	tap.Close()
	for s := range tap.C {
		if s.From != from {
			continue
		}
		p, err := lab.Parse(s.Packet)
		if err != nil {
			t.Fatal(err)
		}
		packets = append(packets, p)
	}
	if tap.Missed() > 0 {
		t.Fatalf("%d packets were missed", tap.Missed())
	}
	return packets
}

func TestAForwardDoesNotWaitForAFamilyThatIsDropped(t *testing.T) {
	server, near := labtest.NewHost(t, "server"), labtest.NewHost(t, "laptop")
	link := labtest.Connect(t, server, near, lab.Conditions{})
	labtest.Need(t, "ip6tables")
	gate := installGate(t, server, "ssh", ladder)
	labtest.MustRun(t, server, "", "ip6tables", "-t", "raw", "-A", "PREROUTING", "-j", "DROP")
	go greet(labtest.Listen(t, server, "tcp", ":2222"))
	l := newLaptop(t, near, map[string]string{"ssh": "host = \"db1.example.com\"\n" + ladder})

	// The first attempt of each knock fails over IPv4 too.
	var lose atomic.Bool
	link.Drop(func(from *lab.Host, packet []byte) bool {
		p, err := lab.Parse(packet)
		return err == nil && from == near && p.Src.Is4() && p.Proto == protocol.ICMP && lose.CompareAndSwap(true, false)
	})
	tap := link.Tap(10000)
	f := l.atName([]netip.Addr{server.Addr6, server.Addr4}, "forward", "ssh", "127.0.0.1:2222")
	labtest.Eventually(t, 10*time.Second, func() error { return f.stderr.says("listens for") })
	const connections = 2
	for range connections {
		lose.Store(true)
		c, err := near.Dial(t.Context(), "tcp", "127.0.0.1:2222")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, make([]byte, len("hello"))); err != nil {
			t.Fatalf("%v\n%s", err, f.stderr)
		}
		c.Close()
		gate.revoke(near.Addr4)
	}
	f.end(t)

	type sent struct {
		port uint16
		seq  uint32
	}
	syns := map[sent]bool{}
	begun, last := 1, uint16(0) // sequences, and the port of the last packet
	for _, p := range parsed(t, tap, near) {
		if !p.Src.Is6() || p.Dst != server.Addr6 {
			continue
		}
		if p.Proto == protocol.ICMP {
			if last != 0 {
				begun++
			}
			last = 0
			continue
		}
		if syns[sent{p.SrcPort, p.SeqNum}] {
			t.Errorf("%s was sent again by the kernel", p)
		}
		syns[sent{p.SrcPort, p.SeqNum}] = true
		switch {
		case last == 2222 && p.DstPort == 2222: // another check
		case last == 0 && p.DstPort == 1201, p.DstPort == last, p.DstPort == last+1, last == 1215 && p.DstPort == 2222:
		default:
			t.Errorf("%s came after port %d: sequences mix", p, last)
		}
		last = p.DstPort
	}
	if begun != 2*connections {
		t.Errorf("%d sequences over IPv6, want two of each knock: or nothing was abandoned in its middle", begun)
	}
	if last == 2222 {
		t.Error("IPv6 was waited for to the end of its second attempt")
	}
}
