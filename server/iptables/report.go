package iptables

import (
	"fmt"

	"knockkit/server/backend"
)

// seldom matches as often as is reported what strangers could cause in bulk.
var seldom = fmt.Sprintf("-m limit --limit %d/sec --limit-burst %d", backend.LogRate, backend.LogBurst)

// report tells whoever listens to our NFLOG group what happens to the packet, and
// goes on. Nobody has to listen.
func report(e backend.Event, profile string, step int) string {
	return fmt.Sprintf("-j NFLOG --nflog-prefix %s --nflog-group %d --nflog-size %d",
		quote(backend.LogPrefix(e, profile, step)), backend.LogGroup, backend.LogSnap)
}
