//go:build linux

package lab

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Wire is a TUN device in a host whose other end is the caller. One goroutine uses
// it. Nothing is lost as long as fewer than 20,000 packets wait to be read.
type Wire struct {
	// Peer4 and Peer6 are neighbours that the host has on the wire: sources to use
	// beside the forged ones.
	Peer4, Peer6 netip.Addr

	tun *tun
}

// Plug puts a wire into a host. On a host without other links, the host gets
// 198.51.100.1 and 2001:db8::1. The caller closes the wire.
func Plug(h *Host) (*Wire, error) {
	n, err := nextSubnet(h)
	if err != nil {
		return nil, err
	}
	t, err := openTUN(h, n, 1)
	if err != nil {
		return nil, err
	}
	return &Wire{tun: t, Peer4: member4(n, 2).Addr(), Peer6: member6(n, 2).Addr()}, nil
}

// Inject lets an IP packet come in on the host. When it returns, the packet has
// passed the host's rules, and answers that need no process (echo replies, resets,
// ICMP errors) can be had from [Wire.Drain].
func (w *Wire) Inject(packet []byte) error { return w.tun.write(packet) }

// InjectAtOnce lets two IP packets come in at the same moment, each on a processor of
// its own. With one processor they come one after the other.
func (w *Wire) InjectAtOnce(one, other []byte) error {
	conn, err := w.tun.file.SyscallConn() // a write to the file itself would wait for the other
	if err != nil {
		return err
	}
	cpus, err := processors()
	if err != nil {
		return err
	}
	if len(cpus) < 2 {
		return errors.Join(w.Inject(one), w.Inject(other))
	}
	packets := [...][]byte{one, other}
	var errs [len(packets)]error
	err = conn.Control(func(fd uintptr) {
		var there atomic.Int32
		var both sync.WaitGroup
		for i, packet := range packets {
			both.Go(func() {
				lockedToThread(func() {
					errs[i] = pin(cpus[i])
					for there.Add(1); int(there.Load()) < len(packets); {
					}
					if _, err := unix.Write(int(fd), packet); err != nil {
						errs[i] = errors.Join(errs[i], fmt.Errorf("write to %s of %s: %w", w.tun.name, w.tun.host.Name, err))
					}
				})
			})
		}
		both.Wait()
	})
	return errors.Join(err, errs[0], errs[1])
}

// processors lists those that the calling thread may run on.
func processors() ([]int, error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return nil, fmt.Errorf("which processors are there: %w", err)
	}
	var all []int
	for cpu := 0; len(all) < set.Count(); cpu++ {
		if set.IsSet(cpu) {
			all = append(all, cpu)
		}
	}
	return all, nil
}

// pin keeps the calling thread on one processor.
func pin(cpu int) error {
	var set unix.CPUSet
	set.Set(cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return fmt.Errorf("stay on processor %d: %w", cpu, err)
	}
	return nil
}

// Next waits for the next packet that the host sends. The error is
// [os.ErrDeadlineExceeded] when none came in time.
func (w *Wire) Next(within time.Duration) ([]byte, error) {
	if err := w.tun.file.SetReadDeadline(time.Now().Add(within)); err != nil {
		return nil, err
	}
	packet, err := w.tun.read()
	if err != nil {
		return nil, fmt.Errorf("read from %s of %s: %w", w.tun.name, w.tun.host.Name, err)
	}
	return packet, nil
}

// Drain returns the packets that the host has sent and that nobody read, oldest
// first, without waiting for more.
func (w *Wire) Drain() ([][]byte, error) {
	if err := w.tun.file.SetReadDeadline(time.Time{}); err != nil {
		return nil, err
	}
	conn, err := w.tun.file.SyscallConn()
	if err != nil {
		return nil, err
	}
	var (
		packets [][]byte
		failed  error
	)
	err = conn.Read(func(fd uintptr) bool {
		for {
			buf := make([]byte, tunMTU)
			n, err := unix.Read(int(fd), buf)
			switch {
			case errors.Is(err, unix.EINTR):
				continue
			case errors.Is(err, unix.EAGAIN):
				return true
			case err == nil && n == 0:
				err = io.ErrUnexpectedEOF
			}
			if err != nil {
				failed = fmt.Errorf("read from %s of %s: %w", w.tun.name, w.tun.host.Name, err)
				return true
			}
			packets = append(packets, buf[:n])
		}
	})
	return packets, errors.Join(failed, err)
}

// Close removes the device from the host.
func (w *Wire) Close() error { return w.tun.file.Close() }
