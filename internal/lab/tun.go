//go:build linux

package lab

import (
	"fmt"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	tunDevice = "/dev/net/tun"
	tunQueue  = 20_000 // packets that a host may send before somebody reads them
	tunMTU    = 1500   // bytes
)

// tun is a TUN device in a host. What the host sends over it is read from file, a
// whole IP packet at a time; what is written to file comes in on the host.
type tun struct {
	host *Host
	name string
	file *os.File
}

// openTUN adds a TUN device to a host, up, with the addresses of member i of
// subnet n, and routes to the forged sources.
func openTUN(h *Host, n, i int) (_ *tun, err error) {
	t := &tun{host: h, name: h.nextName("tun")}
	err = h.Do(func() error {
		t.file, err = attachTUN(t.name)
		if err != nil {
			return err
		}
		// No link-local address: nobody is there to hear its announcements.
		return writeSysctl("ipv6/conf/"+t.name+"/addr_gen_mode", "1")
	})
	defer func() {
		if err != nil && t.file != nil {
			t.file.Close()
		}
	}()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", h.Name, err)
	}
	link, err := h.route.LinkByName(t.name)
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", h.Name, t.name, err)
	}
	if err := setUpTUN(h.route, link); err != nil {
		return nil, fmt.Errorf("%s: %s: %w", h.Name, t.name, err)
	}
	if err := h.addInterface(t.name, n, i); err != nil {
		return nil, err
	}
	if err := h.AddRoute(Forged4(), t.name, netip.Addr{}); err != nil {
		return nil, err
	}
	if err := h.AddRoute(Forged6(), t.name, netip.Addr{}); err != nil {
		return nil, err
	}
	return t, nil
}

func setUpTUN(route *netlink.Handle, link netlink.Link) error {
	if err := route.LinkSetMTU(link, tunMTU); err != nil {
		return fmt.Errorf("set mtu: %w", err)
	}
	if err := route.LinkSetTxQLen(link, tunQueue); err != nil {
		return fmt.Errorf("set queue length: %w", err)
	}
	return nil
}

// attachTUN makes a device in the calling thread's network namespace. It is gone
// when the file is closed.
func attachTUN(name string) (*os.File, error) {
	fd, err := unix.Open(tunDevice, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", tunDevice, err)
	}
	req, err := unix.NewIfreq(name)
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, req); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("make tun device %s: %w", name, err)
	}
	// Only now may the poller see the file: before, it is in an error state.
	return os.NewFile(uintptr(fd), tunDevice), nil
}

// read waits for the next packet that the host sends, in memory of its own.
func (t *tun) read() ([]byte, error) {
	buf := make([]byte, tunMTU)
	n, err := t.file.Read(buf)
	return buf[:n], err
}

// write lets a packet come in on the host. When it returns, the packet has passed
// the host's rules: the kernel does that work in this very call.
func (t *tun) write(packet []byte) error {
	if _, err := t.file.Write(packet); err != nil {
		return fmt.Errorf("write to %s of %s: %w", t.name, t.host.Name, err)
	}
	return nil
}

// CanTUN reports why TUN devices cannot be made here; nil: they can.
func CanTUN() error {
	return onOwnThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("unshare network namespace: %w", err)
		}
		f, err := attachTUN("probe")
		if err != nil {
			return err
		}
		return f.Close()
	})
}

// Tap shows every packet that the two hosts of a [Link] send, before the link
// drops, loses or delays it. Injected packets are not shown: no host sent them.
type Tap struct {
	// C has the packets in the order of each host. It is closed with the tap.
	C <-chan Sent

	mu     sync.Mutex
	c      chan Sent
	closed bool
	missed atomic.Uint64
}

// Sent is a packet that a host sent. Packet is shared: do not change it.
type Sent struct {
	From   *Host
	At     time.Time
	Packet []byte
}

// Missed returns how many packets the tap did not show because nobody read C.
func (t *Tap) Missed() uint64 { return t.missed.Load() }

// Close ends the tap and closes C. It may be called twice.
func (t *Tap) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.closed {
		t.closed = true
		close(t.c)
	}
}

// show never waits: the link must not slow down when a tap's reader does.
func (t *Tap) show(s Sent) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	select {
	case t.c <- s:
	default:
		t.missed.Add(1)
	}
}
