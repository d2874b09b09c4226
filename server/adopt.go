package server

import (
	"errors"
	"fmt"

	"github.com/mdlayher/netlink"
	vnetlink "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"knockkit/protocol"
)

// adopt tells conntrack of the TCP connections that exist to ports which are about
// to be gated. On a host whose rules have never asked for it, conntrack does not
// run, and would take the next packet of each for one that belongs to nothing: the
// gate would cut off everybody who is in.
func adopt(profiles []*protocol.Profile) error {
	if len(profiles) == 0 {
		return nil
	}
	sockets, listens, err := socketsOf()
	if err != nil {
		return err
	}
	var conns []connection
	for _, s := range sockets {
		if c, ok := toAdopt(s, listens, profiles); ok {
			conns = append(conns, c)
		}
	}
	if len(conns) == 0 {
		return nil
	}
	ct, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return fmt.Errorf("conntrack: %w", err)
	}
	defer ct.Close()
	for _, c := range conns {
		if err := c.create(ct); err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("telling conntrack of %s: %w", c.client, err)
		}
	}
	return nil
}

// toAdopt returns the socket's connection if it is at a port of the profiles.
func toAdopt(s socket, listens map[uint16]bool, profiles []*protocol.Profile) (connection, bool) {
	if s.State != vnetlink.TCP_ESTABLISHED || s.to.Addr().IsLoopback() {
		return connection{}, false
	}
	c := connection{client: s.to, server: s.from, stage: established}
	if !listens[s.from.Port()] {
		// This host made it. What comes back is no connection that a gate with `cut` ends.
		c.client, c.server = c.server, c.client
	}
	for _, p := range profiles {
		if p.Opens(protocol.Knock{Proto: protocol.TCP, Port: s.from.Port()}) {
			return c, true
		}
	}
	return c, false
}
