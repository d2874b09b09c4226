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
	cfgTimeout   = 4
	cfgThreshold = 5
	cfgFlags     = 6

	commandBind = 1
	copyPacket  = 2
	flagSeq     = 1
)

// How long the kernel collects reports before it hands them over.
const (
	groupTimeout   = 10 // hundredths of a second
	groupThreshold = 64 // reports
)

// receiveBuffer is how much the kernel may keep for us: some thousand reports.
const receiveBuffer = 2 << 20

// Group is the NFLOG group to which the rules of this network namespace report.
type Group struct {
	conn *netlink.Conn
	next uint32 // the sequence number that the next message should have; the kernel begins with 0
}

// OpenGroup becomes the listener of a group, [backend.LogGroup] for ours.
// Errors: [errTaken], [backend.ErrPrivilege].
func OpenGroup(number uint16) (*Group, error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, fmt.Errorf("NFLOG: %w", err)
	}
	g := &Group{conn: conn}
	if err := g.configure(number); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return g, nil
}

func (g *Group) configure(number uint16) error {
	// For root this goes beyond the limit that the system sets.
	if err := g.conn.SetReadBuffer(receiveBuffer); err != nil {
		return fmt.Errorf("NFLOG: %w", err)
	}
	e := netlink.NewAttributeEncoder()
	e.ByteOrder = binary.BigEndian
	e.Bytes(cfgCommand, []byte{commandBind})
	e.Bytes(cfgMode, []byte{0, 0, 0, backend.LogSnap, copyPacket, 0}) // struct nfulnl_msg_config_mode
	e.Uint32(cfgTimeout, groupTimeout)
	e.Uint32(cfgThreshold, groupThreshold)
	e.Uint16(cfgFlags, flagSeq)
	attrs, err := e.Encode()
	if err != nil {
		return err
	}
	header := binary.BigEndian.AppendUint16([]byte{unix.AF_UNSPEC, 0}, number) // struct nfgenmsg
	_, err = g.conn.Execute(netlink.Message{
		Header: netlink.Header{Type: msgConfig, Flags: netlink.Request | netlink.Acknowledge},
		Data:   append(header, attrs...),
	})
	// The kernel's list of groups would be read too late when the group changes hands.
	switch {
	case claim.Taken(err):
		return errTaken
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("NFLOG: %w", backend.ErrPrivilege)
	case err != nil:
		return fmt.Errorf("listening to NFLOG group %d: %w", number, err)
	}
	return nil
}

// receive waits for reports and returns them, and how many were lost because we were too slow: the
// kernel numbers them. It may return neither without an error.
func (g *Group) receive() (reports []report, lost uint64, err error) {
	messages, err := g.conn.Receive()
	if errors.Is(err, unix.ENOBUFS) {
		return nil, 0, nil // the gap in the numbers will tell how many
	}
	if err != nil {
		return nil, 0, fmt.Errorf("NFLOG: %w", err)
	}
	for _, m := range messages {
		if m.Header.Type != msgPacket {
			continue
		}
		l, err := parseLogged(m.Data)
		if err != nil {
			lost++ // no kernel writes such a message
			continue
		}
		if l.hasSeq {
			lost += uint64(l.seq - g.next) // overflows as the kernel's number does
			g.next = l.seq + 1
		}
		if l.ours {
			reports = append(reports, l.report)
		}
	}
	return reports, lost, nil
}

// Close lets somebody else listen.
func (g *Group) Close() error { return g.conn.Close() }
