package nftables

import (
	"encoding/binary"
	"iter"

	"github.com/vishvananda/netlink/nl"
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
			b = b[min((size+unix.NLA_ALIGNTO-1)&^(unix.NLA_ALIGNTO-1), len(b)):]
		}
	}
}

// valueOf returns the value at the end of a path of nested attributes; nil: there is none.
func valueOf(b []byte, path ...uint16) []byte {
	for _, wanted := range path {
		var found []byte
		for kind, value := range attributes(b) {
			if kind == wanted {
				found = value
				break
			}
		}
		b = found
	}
	return b
}

// attribute encodes one whose value is a text.
func attribute(kind int, value string) []byte {
	return nl.NewRtAttr(kind, nl.ZeroTerminated(value)).Serialize()
}

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
