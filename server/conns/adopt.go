package conns

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"knockkit/protocol"
)

// Adopt tells conntrack of the TCP connections that exist to ports which are about
// to be gated. On a host whose rules have never asked for it, conntrack does not
// run, and would take the next packet of each for one that belongs to nothing: the
// gate would cut off everybody who is in.
func Adopt(profiles []*protocol.Profile) error {
	if len(profiles) == 0 {
		return nil
	}
	sockets, listens, err := socketsOf()
	if err != nil {
		return err
	}
	for _, s := range sockets {
		c, ok := toAdopt(s, listens, profiles)
		if !ok {
			continue
		}
		if err := c.create(); err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("telling conntrack of %s: %w", c.client, err)
		}
	}
	return nil
}
