package rights

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestThePeerOfASocketOfOursIsUs(t *testing.T) {
	name := filepath.Join(t.TempDir(), "socket")
	l, err := net.Listen("unix", name)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("unix", name)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	p, err := peerOf(c.(*net.UnixConn))
	if err != nil || p != (Peer{os.Getpid(), os.Getuid()}) || !p.Trusted() {
		t.Errorf("%+v, %v", p, err)
	}
	if stranger := (Peer{1, os.Geteuid() + 1}); stranger.Trusted() {
		t.Errorf("%+v is believed", stranger)
	}
}

// TestCapabilitiesAreThoseOfTheStatusFile compares with the kernel's other answer.
func TestCapabilitiesAreThoseOfTheStatusFile(t *testing.T) {
	status, err := os.ReadFile("/proc/thread-self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "CapEff:\t")
	var digits string
	digits, _, _ = strings.Cut(rest, "\n")
	if len(digits) != 16 {
		t.Fatalf("no capabilities in\n%s", status)
	}
	for capability := uint(0); capability <= unix.CAP_SYS_MODULE; capability++ {
		digit := strings.IndexByte("0123456789abcdef", digits[15-capability/4])
		if want := digit>>(capability%4)&1 == 1; Has(capability) != want {
			t.Errorf("capability %d: %v", capability, !want)
		}
	}
}
