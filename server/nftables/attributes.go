package nftables

import (
	"encoding/binary"
	"iter"

	"golang.org/x/sys/unix"
)

// attributes yields the attributes (struct nlattr) of a netlink message, without the flags
// in their types. What follows a broken one is left out.
func attributes(b []byte) iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		for len(b) >= unix.NLA_HDRLEN {
			size := int(binary.NativeEndian.Uint16(b))
			kind := binary.NativeEndian.Uint16(b[2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
			if size < unix.NLA_HDRLEN || size > len(b) || !yield(kind, b[unix.NLA_HDRLEN:size]) {
				return
			}
			b = b[min(aligned(size), len(b)):]
		}
	}
}

// message is one of several in a datagram (struct nlmsghdr).
type message struct {
	kind, flags uint16
	body        []byte
}

// messages yields the messages of a datagram.
func messages(datagram []byte) iter.Seq[message] {
	return func(yield func(message) bool) {
		for b := datagram; len(b) >= unix.NLMSG_HDRLEN; {
			size := int(binary.NativeEndian.Uint32(b))
			if size < unix.NLMSG_HDRLEN || size > len(b) ||
				!yield(message{binary.NativeEndian.Uint16(b[4:]), binary.NativeEndian.Uint16(b[6:]), b[unix.NLMSG_HDRLEN:size]}) {
				return
			}
			b = b[min(aligned(size), len(b)):]
		}
	}
}

// attribute encodes one whose value is a text.
func attribute(kind uint16, value string) []byte {
	b := binary.NativeEndian.AppendUint16(nil, uint16(unix.NLA_HDRLEN+len(value)+1))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = append(append(b, value...), 0)
	return append(b, make([]byte, aligned(len(b))-len(b))...)
}

func aligned(size int) int { return (size + unix.NLA_ALIGNTO - 1) &^ (unix.NLA_ALIGNTO - 1) }

// stringOf reads a text that a NUL ends.
func stringOf(value []byte) string { return unix.ByteSliceToString(value) }

// numberOf reads a number in the network's byte order, of 32 or 64 bits; 0 is none.
func numberOf(value []byte) uint64 {
	switch len(value) {
	case 4:
		return uint64(binary.BigEndian.Uint32(value))
	case 8:
		return binary.BigEndian.Uint64(value)
	}
	return 0
}
