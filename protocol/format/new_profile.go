package format

import (
	"fmt"
	"slices"
	"strings"

	"knockkit/protocol"
)

// newSequence is how many ports a new profile knocks on: 4 are worth 68 bits.
const newSequence = 4

// NewProfileText returns the text of a new profile for people to edit, with the
// given name ([CheckName]). intn returns a random number from 0 to n-1: the
// sequence is made of it, so it must not be predictable. The text parses without
// a warning.
func NewProfileText(name string, intn func(n int) int) string {
	const opens = 3306
	words := make([]string, 0, newSequence)
	for _, port := range newPorts(intn, opens) {
		words = append(words, fmt.Sprintf("\"%d/tcp\"", port))
	}
	return fmt.Sprintf(`# %s.toml: knock on these ports, in this order, and the port below opens.
# Server and client read the same file; each ignores what only the other needs.

# description = "what this is for"
# host = "db1.example.com"         # for the client: a name, an address, or a list

# Chosen at random. Keep them secret: whoever knows them can open the port.
sequence = [%s]
within = "10s"                     # longest time from one knock to the next

open = ["%d/tcp"]                # what the knocks open; ranges too, as "6000-6010/tcp"
lease = "1h"                       # how long new connections may be made; "0": no end

# renew = true                     # each new connection starts the lease again
# once = true                      # the first connection uses the lease up
# cut = true                       # established connections end with the lease
# close = "PORT/tcp"               # a knock that gives the lease back
# from = ["198.51.100.0/24"]       # only these sources can open it
# interface = "eth0"               # only what comes in here
# closed = "drop"                  # what others get: drop, reject or continue

[client]
gap = "10ms"                       # between two knocks
attempts = 3
`, name, strings.Join(words, ", "), opens)
}

// newPorts chooses ports from 1024 up that scanners do not try first and that
// do not ascend.
func newPorts(intn func(n int) int, opens uint16) []uint16 {
	const least, count = 1024, 65536 - 1024
	var ports []uint16
	for len(ports) < newSequence {
		port := uint16(least + intn(count))
		// On to the next that will do: no luck is needed to come to an end.
		for slices.Contains(ports, port) || scannedFirst(protocol.Knock{Proto: protocol.TCP, Port: port}) || port == opens || port < least {
			port++
		}
		ports = append(ports, port)
	}
	if slices.IsSorted(ports) {
		slices.Reverse(ports)
	}
	return ports
}
