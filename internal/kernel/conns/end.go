package conns

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"knockkit/protocol"
)

// End ends the connections that holders within the prefix made to the profile's ports, and returns
// how many it ended: not those that had ended before, nor those that were never answered. After an
// error some may go on.
//
// The sockets on this host are closed first: by a packet of its own, a socket would make conntrack
// pick the connection up again, from the other end. Then conntrack forgets the holders' connections,
// so that their next packet is a stray one at the gate. For connections to containers see
// [misdirect].
func End(p *protocol.Profile, holder netip.Prefix) (int, error) {
	e := &ending{profile: p, holder: holder, closed: map[way]bool{}, here: map[netip.Addr]bool{}}
	closed, err := e.closeSockets()
	forgotten, err2 := e.forgetFlows()
	if err = errors.Join(err, err2); err != nil {
		err = fmt.Errorf("connections ended: %d, others may go on: %w", closed+forgotten, err)
	}
	return closed + forgotten, err
}

// ending is the state of one call of End.
type ending struct {
	profile *protocol.Profile
	holder  netip.Prefix
	closed  map[way]bool        // sockets that were closed: from this host to the holder
	here    map[netip.Addr]bool // whether an address is this host's, if asked before
}

// closeSockets closes the holders' connections to sockets on this host, until it finds
// none. It returns how many it closed.
func (e *ending) closeSockets() (int, error) {
	const tries = 3 // a connection may be coming in while the lease ends
	ended := map[[2]uint32]bool{}
	for try := 0; ; try++ {
		found, err := e.sockets()
		if err != nil {
			return len(ended), err
		}
		for _, s := range found {
			delete(ended, s.ID.Cookie)
		}
		if len(found) == 0 {
			return len(ended), nil
		}
		if try == tries {
			return len(ended), fmt.Errorf("%s is still connected", found[0].to)
		}
		for _, s := range found {
			err := s.destroy()
			switch {
			case err == nil:
				e.closed[s.way] = true
				if s.State != netlink.TCP_SYN_RECV {
					ended[s.ID.Cookie] = true
				}
			case errors.Is(err, unix.EOPNOTSUPP):
				return len(ended), errors.New("this kernel cannot close a socket (CONFIG_INET_DIAG_DESTROY is not set)")
			case !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ESTALE): // gone by itself
				return len(ended), fmt.Errorf("closing the connection of %s: %w", s.to, err)
			}
		}
	}
}

// sockets returns the sockets of the holders' connections.
func (e *ending) sockets() ([]socket, error) {
	all, listens, err := socketsOf()
	if err != nil {
		return nil, err
	}
	flows, err := flowsOf(e.holder.Addr())
	if err != nil {
		return nil, err
	}
	theirs, ours := map[way]way{}, map[way]bool{} // made by the other end; by this host
	for _, f := range flows {
		if f.proto == unix.IPPROTO_TCP {
			theirs[f.answer] = f.asked
			ours[f.asked] = !f.pickedUp
		}
	}
	var found []socket
	for _, s := range all {
		asked, known := theirs[s.way]
		switch {
		case known: // NAT may have changed both ends
		case ours[s.way], !listens[s.from.Port()]:
			continue // this host made the connection
		default:
			asked = way{s.to, s.from}
		}
		// The gate at the input sees the port behind NAT, one before NAT the port that was addressed.
		if (e.opens(protocol.TCP, asked.to) || e.opens(protocol.TCP, s.from)) && e.isHolder(asked.from.Addr()) {
			found = append(found, s)
		}
	}
	return found, nil
}

// forgetFlows lets conntrack forget the holders' connections. It returns how many connections to
// other hosts, such as containers, and flows of UDP that has ended.
func (e *ending) forgetFlows() (int, error) {
	flows, err := flowsOf(e.holder.Addr())
	if err != nil {
		return 0, err
	}
	n := 0
	for _, f := range flows {
		proto := map[byte]protocol.Proto{unix.IPPROTO_TCP: protocol.TCP, unix.IPPROTO_UDP: protocol.UDP}[f.proto]
		if proto == 0 {
			continue
		}
		theirs := e.opens(proto, f.asked.to) && e.isHere(f.asked.to.Addr()) && e.isHolder(f.asked.from.Addr())
		left := proto == protocol.TCP && (e.closed[f.asked] || e.closed[f.answer]) // the entry of a socket that was closed
		if !theirs && !left {
			continue
		}
		gone, err := f.forget()
		if err != nil {
			return n, fmt.Errorf("conntrack does not forget %s: %w", f.asked.from, err)
		}
		if !gone || left {
			continue
		}
		if proto == protocol.TCP {
			// With destination NAT, the answers come from the server.
			if !f.connected() || e.isHere(f.answer.from.Addr()) {
				continue
			}
			if err := misdirect(f); err != nil {
				return n, fmt.Errorf("ending the connection of %s: %w", f.asked.from, err)
			}
		}
		n++
	}
	return n, nil
}

// isHolder reports whether the address is a holder's. This host itself is none: its packets come in
// over loopback, which is not gated.
func (e *ending) isHolder(addr netip.Addr) bool { return e.holder.Contains(addr) && !e.isHere(addr) }

// opens reports whether the profile has a gate in front of an address of this host.
func (e *ending) opens(proto protocol.Proto, at netip.AddrPort) bool {
	p := e.profile
	return p.Opens(protocol.Knock{Proto: proto, Port: at.Port()}) && p.In(protocol.FamilyOf(at.Addr())) &&
		(len(p.To) == 0 || slices.ContainsFunc(p.To, func(to netip.Prefix) bool { return to.Contains(at.Addr()) }))
}

// isHere reports whether the address is one of this host's.
func (e *ending) isHere(addr netip.Addr) bool {
	is, known := e.here[addr]
	if !known {
		routes, err := netlink.RouteGet(addr.AsSlice())
		is = err == nil && len(routes) > 0 && routes[0].Type == unix.RTN_LOCAL
		e.here[addr] = is
	}
	return is
}

// misdirect ends a connection of a container that conntrack has forgotten. The server's next packet
// would be taken for the first of a new connection, and the engine's source NAT would give it the
// address and port that the client knows: the old connection would go on. So conntrack is told of
// that new connection before, with another port. The client does not know that port and answers with
// a reset, which ends the server's side.
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
