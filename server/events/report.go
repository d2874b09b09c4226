package events

import (
	"encoding/binary"
	"strings"

	"github.com/mdlayher/netlink"

	"knockkit/server/backend"
)

// report is one packet that a rule of ours has reported.
type report struct {
	Event   backend.Event
	Profile string
	Step    int
	Packet  packet
}

// Attributes of linux/netfilter/nfnetlink_log.h.
const (
	nfulaPayload = 9
	nfulaPrefix  = 10
	nfulaSeq     = 12

	genHeader = 4 // struct nfgenmsg before the attributes
)

// logged is a message of the group, decoded.
type logged struct {
	report report
	ours   bool // a rule of ours has sent it, and its packet could be read
	seq    uint32
	hasSeq bool
}

// parseLogged reads a message of the kind NFULNL_MSG_PACKET.
func parseLogged(data []byte) (logged, error) {
	var l logged
	if len(data) < genHeader {
		return l, errShort
	}
	d, err := netlink.NewAttributeDecoder(data[genHeader:])
	if err != nil {
		return l, err
	}
	d.ByteOrder = binary.BigEndian
	var prefix string
	var payload []byte
	for d.Next() {
		switch d.Type() {
		case nfulaPrefix:
			prefix = strings.TrimRight(d.String(), "\x00")
		case nfulaPayload:
			payload = d.Bytes()
		case nfulaSeq:
			l.seq, l.hasSeq = d.Uint32(), true
		}
	}
	if err := d.Err(); err != nil {
		return l, err
	}
	r := &l.report
	if r.Event, r.Profile, r.Step, l.ours = backend.ParseLogPrefix(prefix); l.ours {
		r.Packet, err = parsePacket(payload)
		l.ours = err == nil // whose packet it was is all that an event is about
	}
	return l, nil
}
