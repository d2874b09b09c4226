package conns

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"knockkit/protocol"
)

// Adopt tells conntrack of the TCP connections to ports that are about to be gated. On a host whose
// rules have never used conntrack it does not run, and would take the next packet of each connection
// for a stray one: the gate would cut off everybody who is connected.
func Adopt(profiles []*protocol.Profile) error {
	if len(profiles) == 0 {
		return nil
	}
	sockets, listens, err := socketsOf()
	if err != nil {
		return err
	}
	for _, s := range sockets {
		opens := func(p *protocol.Profile) bool {
			return p.Opens(protocol.Knock{Proto: protocol.TCP, Port: s.from.Port()})
		}
		stage, ok := stageOf(s)
		if !ok || s.to.Addr().IsLoopback() || !slices.ContainsFunc(profiles, opens) {
			continue
		}
		c := connection{client: s.to, server: s.from, stage: stage}
		if !listens[s.from.Port()] {
			// This host made it: a gate with `cut` does not end it.
			c.client, c.server = c.server, c.client
		}
		if err := c.create(); err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("telling conntrack of %s: %w", c.client, err)
		}
	}
	return nil
}
