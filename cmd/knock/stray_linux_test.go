package main

import (
	"net"
	"strings"
	"testing"
)

// firstOf returns the first packet that came, or the one that it sends itself: what the
// loopback interface carried is there when the sender has ended.
func firstOf(t *testing.T, knocks net.PacketConn) string {
	t.Helper()
	if _, err := knocks.WriteTo([]byte("none"), knocks.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	n, _, err := knocks.ReadFrom(buf)
	if err != nil {
		t.Fatal(err)
	}
	return string(buf[:n])
}

func TestALineThatIsMistakenSendsNothing(t *testing.T) {
	open, _ := ports(t)
	j := newJob(t, open)
	for _, c := range []struct {
		line  string
		code  int
		sends bool
	}{
		{"shop -- echo -h db1", 0, true}, // or the others would prove nothing
		{"shop mysql -h db1", 2, false},
		{"shop mysqldump -h", 2, false},
		{"shop mysqldump -h db1 --single-transaction shop", 2, false},
		{"shop echo -- -h", 2, false},
		{"shop -h 127.0.0.1", 2, false},
		{"shop -h -- echo", 2, false},
		{"shop -h", 0, false},
	} {
		t.Run(c.line, func(t *testing.T) {
			knocks, err := net.ListenPacket("udp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer knocks.Close()
			_, number, _ := net.SplitHostPort(knocks.LocalAddr().String())
			j.write("profiles/shop.toml", strings.Replace(shopProfile(open), "9/udp", number+"/udp", 1), 0o600)
			if out, code := j.run("knock", strings.Fields(c.line)...); code != c.code {
				t.Errorf("exit %d, want %d\n%s", code, c.code, out)
			}
			if sent := firstOf(t, knocks) != "none"; sent != c.sends {
				t.Errorf("it knocks: %v, want %v", sent, c.sends)
			}
		})
	}
}
