package conns

import (
	"errors"
	"net/netip"

	"golang.org/x/sys/unix"
)

// misdirect ends a connection of a container that conntrack has forgotten. The next
// packet of the server there would be taken for the first of a new connection, and the
// engine's source NAT would give it the very address and port that the client knows: the
// old connection would go on. So conntrack is told of that new one before, from another
// port. The client does not know it and answers with a reset, which ends the server's side.
func misdirect(f flow) error {
	asked := f.asked.to
	back := connection{client: f.answer.from, server: f.answer.to, stage: established}
	back.source = netip.AddrPortFrom(asked.Addr(), max(asked.Port()^1<<15, 1))
	const tries = 5 // the server may be sending
	var err error
	for range tries {
		if err = back.create(); !errors.Is(err, unix.EEXIST) {
			return err
		}
		flows, err := flowsOf(asked.Addr())
		if err != nil {
			return err
		}
		for _, other := range flows {
			if other.proto == unix.IPPROTO_TCP && other.asked == f.answer {
				if _, err := other.forget(); err != nil {
					return err
				}
			}
		}
	}
	return err
}
