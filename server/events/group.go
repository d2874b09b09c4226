package events

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"knockkit/internal/kernel/backend"
	"knockkit/internal/kernel/claim"
)

// errTaken says that another process listens to the NFLOG group.
var errTaken = errors.New("another program listens to NFLOG group " + fmt.Sprint(backend.LogGroup))

// Numbers of linux/netfilter/nfnetlink_log.h.
const (
	subsystem    = unix.NFNL_SUBSYS_ULOG << 8
	msgConfig    = subsystem + 1
	msgPacket    = subsystem
	cfgCommand   = 1 // NFULA_CFG_CMD
	cfgMode      = 2
	cfgThreshold = 5
	cfgFlags     = 6

	commandBind = 1
	copyPacket  = 2
	flagSeq     = 1
)

// groupThreshold is how many reports the kernel collects before it hands them over: what it collects
// nobody can ask for, and notices are to have the order in which things happened. They collect in the
// socket: see [receive].
const groupThreshold = 1

// largestBatch is how many messages receive returns at most.
const largestBatch = 64

// receiveBuffer is how much the kernel may keep for us: some thousand reports.
const receiveBuffer = 2 << 20

// Group is the NFLOG group to which the rules of this network namespace report.
type Group struct {
	conn   *netlink.Conn
	number uint16
	next   uint32 // the sequence number that the next message should have; the kernel begins with 0
}

// OpenGroup becomes the listener of a group, [backend.LogGroup] for ours.
// Errors: [errTaken], [backend.ErrPrivilege].
func OpenGroup(number uint16) (*Group, error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, fmt.Errorf("NFLOG: %w", err)
	}
	g := &Group{conn: conn, number: number}
	if err := g.configure(); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return g, nil
}

func (g *Group) configure() error {
	// For root this goes beyond the limit that the system sets.
	if err := g.conn.SetReadBuffer(receiveBuffer); err != nil {
		return fmt.Errorf("NFLOG: %w", err)
	}
	m, err := groupMessage(g.number, func(e *netlink.AttributeEncoder) {
		e.Bytes(cfgCommand, []byte{commandBind})
		e.Bytes(cfgMode, []byte{0, 0, 0, backend.LogSnap, copyPacket, 0}) // struct nfulnl_msg_config_mode
		e.Uint16(cfgFlags, flagSeq)
	})
	if err != nil {
		return err
	}
	_, err = g.conn.Execute(m)
	// The kernel's list of groups would be read too late when the group changes hands.
	switch {
	case claim.Taken(err):
		return errTaken
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("NFLOG: %w", backend.ErrPrivilege)
	case err != nil:
		return fmt.Errorf("listening to NFLOG group %d: %w", g.number, err)
	}
	_, err = g.mark() // now: a report that came before the answer to the first message would be taken for it
	return err
}

// groupMessage returns a message that configures a group, and that the kernel answers.
func groupMessage(number uint16, attributes func(*netlink.AttributeEncoder)) (netlink.Message, error) {
	e := netlink.NewAttributeEncoder()
	e.ByteOrder = binary.BigEndian
	attributes(e)
	attrs, err := e.Encode()
	header := binary.BigEndian.AppendUint16([]byte{unix.AF_UNSPEC, 0}, number) // struct nfgenmsg
	return netlink.Message{
		Header: netlink.Header{Type: msgConfig, Flags: netlink.Request | netlink.Acknowledge},
		Data:   append(header, attrs...),
	}, err
}

// mark sets when the kernel hands reports over. Its answer has the number that mark returns, and
// comes behind all reports from before the call. An answer for which there is no room is lost.
func (g *Group) mark() (number uint32, err error) {
	m, err := groupMessage(g.number, func(e *netlink.AttributeEncoder) { e.Uint32(cfgThreshold, groupThreshold) })
	if err != nil {
		return 0, err
	}
	m, err = g.conn.Send(m)
	return m.Header.Sequence, err
}

// batch is what the group has reported by the time of a read.
type batch struct {
	reports []report
	lost    uint64 // because we were too slow: the kernel numbers them
	marked  uint32 // the mark before which all of these have come; 0: none, as far as the batch says
	err     error
}

// receive waits for a report, and returns it with those that stand behind it, up to a mark. It may
// return an empty batch. It is full when more may stand there.
func (g *Group) receive() (b batch, full bool) {
	for range largestBatch {
		messages, err := g.conn.Receive()
		if err != nil && !errors.Is(err, unix.ENOBUFS) { // of those that are lost the gap in the numbers will tell
			b.err = fmt.Errorf("NFLOG: %w", err)
			return b, false
		}
		if g.add(&b, messages); b.marked != 0 {
			break
		}
		if !g.more() {
			return b, false
		}
	}
	return b, true
}

// more reports whether the socket has something to read.
func (g *Group) more() bool {
	raw, err := g.conn.SyscallConn()
	if err != nil {
		return false
	}
	n := 0
	err = raw.Control(func(fd uintptr) { n, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0) })
	return err == nil && n > 0
}

// add adds messages to a batch.
func (g *Group) add(b *batch, messages []netlink.Message) {
	for _, m := range messages {
		if m.Header.Type == netlink.Error {
			b.marked = m.Header.Sequence
		}
		if m.Header.Type != msgPacket {
			continue
		}
		l, err := parseLogged(m.Data)
		if err != nil {
			b.lost++ // no kernel writes such a message
			continue
		}
		if l.hasSeq {
			b.lost += uint64(l.seq - g.next) // overflows as the kernel's number does
			g.next = l.seq + 1
		}
		if l.ours {
			b.reports = append(b.reports, l.report)
		}
	}
}

// Close lets somebody else listen.
func (g *Group) Close() error { return g.conn.Close() }
