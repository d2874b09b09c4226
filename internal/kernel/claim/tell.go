package claim

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// toldRoom is how much the queue of the owner of [Install] takes: some 8,000 short texts.
const toldRoom = 8 << 20

// Tell sends a text to the owner of a group, who reads it with [Claim.Told]; nothing happens where nobody has the group. The kernel
// takes such a text from no process without CAP_NET_ADMIN in this network namespace. The error says
// that it could not be sent: the queue is full.
func Tell(g Group, text string) error {
	l, err := listed(g)
	if err != nil || l.port == 0 {
		return err
	}
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return fmt.Errorf("netlink: %w", err)
	}
	defer unix.Close(fd)
	err = unix.Sendto(fd, []byte(text), unix.MSG_DONTWAIT, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Pid: l.port})
	if err != nil && !errors.Is(err, unix.ECONNREFUSED) { // its last process has just ended
		return fmt.Errorf("telling the owner of NFLOG group %d: %w", g, err)
	}
	return nil
}

// Told returns the texts that were sent to the owner since the last call. Processes that share the
// claim share the texts: each text is returned to one of them.
func (c *Claim) Told() (texts []string, err error) {
	buf := make([]byte, 64<<10)
	for {
		var from unix.Sockaddr
		n, err := retry(func() (n int, err error) {
			n, from, err = unix.Recvfrom(int(c.file.Fd()), buf, unix.MSG_DONTWAIT)
			return n, err
		})
		if errors.Is(err, unix.EAGAIN) {
			return texts, nil
		}
		if err != nil {
			return texts, fmt.Errorf("NFLOG group %d: %w", c.group, err)
		}
		if at, ok := from.(*unix.SockaddrNetlink); ok && at.Pid != 0 { // not the kernel
			texts = append(texts, string(buf[:n]))
		}
	}
}

// makeRoom makes the queue large. Root of a user namespace gets less.
func (c *Claim) makeRoom() {
	fd := int(c.file.Fd())
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, toldRoom) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, toldRoom)
	}
}
