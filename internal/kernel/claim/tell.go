package claim

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// toldRoom is how much the owner's queue takes: some 8,000 short texts.
const toldRoom = 8 << 20

// Tell sends a text to the owner of a group that has said when its work is done ([Claim.EndsAt]).
// told is false where nobody has the group, or has not said it. The kernel takes such a text from no
// process without CAP_NET_ADMIN in this network namespace. The error says that the queue is full.
func Tell(g Group, text string) (told bool, err error) {
	l, err := listed(g)
	if err != nil || l.endsAt == 0 {
		return false, err
	}
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return false, fmt.Errorf("netlink: %w", err)
	}
	defer unix.Close(fd)
	err = unix.Sendto(fd, []byte(text), unix.MSG_DONTWAIT, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Pid: l.port})
	if errors.Is(err, unix.ECONNREFUSED) {
		return false, nil // its last process has just ended
	}
	if err != nil {
		return false, fmt.Errorf("telling the owner of NFLOG group %d: %w", g, err)
	}
	return true, nil
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
