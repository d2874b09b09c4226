package claim

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"knockkit/internal/kernel/backend"
	"knockkit/internal/rights"
)

// Group is the number of an NFLOG group to which no rule reports.
type Group uint16

// The groups, beside [backend.LogGroup].
const (
	Lock    Group = 7116 // of the process that reads and commits
	Service Group = 7117 // of `knockd run`
	Install Group = 7118 // of the process that changes what is installed: of a trial until its end
)

// ErrTaken says that another process has the group.
var ErrTaken = errors.New("another process has it")

// Claim is a group that this process has.
type Claim struct {
	group Group
	file  *os.File
}

// Take takes a group. Errors: [ErrTaken], [backend.ErrPrivilege].
func Take(g Group) (*Claim, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, fmt.Errorf("netlink: %w", err)
	}
	c := &Claim{g, os.NewFile(uintptr(fd), fmt.Sprintf("NFLOG group %d", g))}
	if err := c.bind(); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	if g == Install {
		c.makeRoom()
	}
	return c, nil
}

// bind asks for the group. The kernel refuses in the same way for a missing privilege and for a
// group that is taken, and a process can have CAP_NET_ADMIN in a user namespace that does not own
// the network: so the kernel's list of groups decides.
func (c *Claim) bind() error {
	const tries = 3 // the group may change hands between the answer and the list
	for range tries {
		err := c.configure(nl.NewRtAttr(cfgCommand, []byte{commandBind, 0, 0, 0}), timeout(0))
		if err == nil {
			return nil
		}
		if !Taken(err) {
			if errors.Is(err, unix.EPERM) {
				err = backend.ErrPrivilege
			}
			return fmt.Errorf("NFLOG group %d: %w", c.group, err)
		}
		l, err := listed(c.group)
		if errors.Is(err, fs.ErrPermission) {
			return fmt.Errorf("NFLOG group %d: %w", c.group, backend.ErrPrivilege)
		}
		if err != nil || l.port != 0 {
			return ErrTaken
		}
	}
	return fmt.Errorf("NFLOG group %d: %w", c.group, backend.ErrPrivilege)
}

// Taken reports whether the kernel's answer to a bind means that somebody else has the group: EPERM
// is also the answer to a missing privilege.
func Taken(err error) bool {
	return errors.Is(err, unix.EBUSY) || errors.Is(err, unix.EPERM) && rights.Has(unix.CAP_NET_ADMIN)
}

// Inherited is the claim of the process that started this one, and passed on its file.
func Inherited(g Group, f *os.File) *Claim { return &Claim{g, f} }

// File is inherited by processes that this one starts: they have the group too, until the last of
// them has ended.
func (c *Claim) File() *os.File { return c.file }

// Close gives the group up. Processes that have inherited it keep it.
func (c *Claim) Close() error { return c.file.Close() }

// EndsAt tells the processes that wait when the owner's work is done at the latest. It is kept where
// they see who has the group: as the group's timeout for reports, of which there are none, in
// seconds of the machine's clock since boot. Nobody may [Tell] the owner anything meanwhile: it waits
// for the kernel's answer.
func (c *Claim) EndsAt(t time.Time) error {
	return c.configure(timeout(uint32((uptime() + time.Until(t)).Round(time.Second) / time.Second)))
}

// uptime is the clock that runs since boot and that nobody sets.
func uptime() time.Duration {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) // every kernel has it
	return time.Duration(t.Nano())
}

// Numbers of linux/netfilter/nfnetlink_log.h.
const (
	msgConfig   = unix.NFNL_SUBSYS_ULOG<<8 + 1
	cfgCommand  = 1 // NFULA_CFG_CMD
	cfgTimeout  = 4
	commandBind = 1
)

func timeout(n uint32) *nl.RtAttr {
	return nl.NewRtAttr(cfgTimeout, binary.BigEndian.AppendUint32(nil, n))
}

// configure sends one message about the group and returns the kernel's answer.
func (c *Claim) configure(attributes ...*nl.RtAttr) error {
	m := nl.NewNetlinkRequest(msgConfig, unix.NLM_F_ACK)
	m.AddRawData(binary.BigEndian.AppendUint16([]byte{unix.AF_UNSPEC, 0}, uint16(c.group))) // struct nfgenmsg
	for _, a := range attributes {
		m.AddRawData(a.Serialize())
	}
	fd := int(c.file.Fd())
	if err := unix.Sendto(fd, m.Serialize(), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	answer := make([]byte, 4096)
	n, err := retry(func() (int, error) { n, _, err := unix.Recvfrom(fd, answer, 0); return n, err })
	if err != nil {
		return err
	}
	const errorAt = unix.NLMSG_HDRLEN // struct nlmsgerr
	if n < errorAt+4 {
		return fmt.Errorf("netlink: an answer of %d bytes", n)
	}
	if code := int32(binary.NativeEndian.Uint32(answer[errorAt:])); code != 0 {
		return unix.Errno(-code)
	}
	return nil
}

// retry calls f again when a signal has interrupted it.
func retry(f func() (int, error)) (n int, err error) {
	for {
		if n, err = f(); !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}
