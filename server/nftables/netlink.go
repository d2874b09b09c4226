package nftables

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"knockkit/server/backend"
)

// socket is a netlink socket on which nf_tables answers.
type socket struct {
	fd       int
	sequence uint32
	buffer   []byte
}

// request asks nf_tables for objects.
type request struct {
	kind       uint16 // unix.NFT_MSG_GET…
	family     byte   // unix.NFPROTO_…
	dump       bool   // all that match, not one
	attributes []byte
}

// datagramSize is more than the kernel puts into one datagram (32 KB).
const datagramSize = 1 << 16

// errChanged says that the rules were changed while they were read: to be read again.
var errChanged = errors.New("the rules change while they are read")

// errAbsent says that the kernel has no nf_tables.
var errAbsent = backend.Unsupported("this kernel has no nf_tables")

func dial() (*socket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.EAFNOSUPPORT) {
		return nil, errAbsent
	}
	if err != nil {
		return nil, fmt.Errorf("netlink: %w", err)
	}
	return &socket{fd: fd, buffer: make([]byte, datagramSize)}, nil
}

func (s *socket) close() { unix.Close(s.fd) }

// ask sends a request and calls each for the objects of the answer, datagram by datagram,
// with their family and attributes, which are valid until each returns. After an error of
// each the socket is of no use any more.
//
// Errors: those of the context, [backend.ErrPrivilege], errChanged, what the kernel says
// (a unix.Errno), that of each.
func (s *socket) ask(ctx context.Context, r request, each func(family byte, attributes []byte) error) error {
	if err := s.send(r); err != nil {
		return fmt.Errorf("netlink: %w", err)
	}
	changed := false
	for done := false; !done; {
		if err := ctx.Err(); err != nil {
			return err
		}
		datagram, err := s.receive()
		if err != nil {
			return fmt.Errorf("netlink: %w", err)
		}
		done = !r.dump
		for m := range messages(datagram) {
			changed = changed || m.flags&unix.NLM_F_DUMP_INTR != 0
			switch m.kind {
			case unix.NLMSG_ERROR, unix.NLMSG_DONE:
				done, err = true, answered(m.body)
			default:
				if len(m.body) < sizeofNfgenmsg {
					return fmt.Errorf("netlink: an answer of %d bytes", len(m.body))
				}
				err = each(m.body[0], m.body[sizeofNfgenmsg:])
			}
			if err != nil {
				return err
			}
		}
	}
	if changed {
		return errChanged
	}
	return nil
}

// sizeofNfgenmsg is the size of struct nfgenmsg, which comes before the attributes.
const sizeofNfgenmsg = 4

func (s *socket) send(r request) error {
	s.sequence++
	flags := uint16(unix.NLM_F_REQUEST)
	if r.dump {
		flags |= unix.NLM_F_DUMP
	}
	m := binary.NativeEndian.AppendUint32(nil, uint32(unix.NLMSG_HDRLEN+sizeofNfgenmsg+len(r.attributes)))
	m = binary.NativeEndian.AppendUint16(m, unix.NFNL_SUBSYS_NFTABLES<<8|r.kind)
	m = binary.NativeEndian.AppendUint16(m, flags)
	m = binary.NativeEndian.AppendUint32(m, s.sequence)
	m = append(m, make([]byte, 4)...) // the port: the kernel knows it
	m = append(m, r.family, 0, 0, 0)
	return unix.Sendto(s.fd, append(m, r.attributes...), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
}

// receive returns the next datagram, which is valid until the one after it.
func (s *socket) receive() ([]byte, error) {
	for {
		n, _, err := unix.Recvfrom(s.fd, s.buffer, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		return s.buffer[:max(n, 0)], err
	}
}

// answered returns the error in the answer that ends others; 0 is none.
func answered(body []byte) error {
	if len(body) < 4 {
		return nil
	}
	switch code := unix.Errno(-int32(binary.NativeEndian.Uint32(body))); code {
	case 0:
		return nil
	case unix.EPERM:
		return fmt.Errorf("nftables: %w", backend.ErrPrivilege)
	case unix.EINTR:
		return errChanged
	default:
		return code
	}
}
