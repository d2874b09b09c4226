package doctor

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"knockkit/protocol"
)

// lookAtSockets lists what listens.
func (f *Facts) lookAtSockets() {
	for _, file := range []struct {
		name  string
		proto protocol.Proto
		state string // of a socket that listens
	}{
		{"tcp", protocol.TCP, "0A"}, {"tcp6", protocol.TCP, "0A"}, {"udp", protocol.UDP, "07"}, {"udp6", protocol.UDP, "07"},
	} {
		text, err := os.ReadFile("/proc/thread-self/net/" + file.name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // a kernel without that family
		}
		if err == nil {
			var all []Listener
			all, err = parseSockets(string(text), file.proto, file.state)
			f.Listeners = append(f.Listeners, all...)
		}
		f.miss("the sockets of "+file.name, err)
	}
}

// parseSockets reads /proc/net/tcp and its like: the sockets that are in the state.
func parseSockets(text string, proto protocol.Proto, state string) ([]Listener, error) {
	var all []Listener
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for _, line := range lines[1:] {
		fields := strings.Fields(line)
		if len(fields) < 4 {
			return nil, fmt.Errorf("%q is no socket", line)
		}
		if fields[3] != state {
			continue
		}
		addr, port, err := parseSocket(fields[1])
		if err != nil {
			return nil, err
		}
		all = append(all, Listener{protocol.Knock{Proto: proto, Port: port}, addr})
	}
	return all, nil
}

// parseSocket reads "0100007F:0CEA": each word of 32 bits was printed as a number of
// the machine's byte order.
func parseSocket(text string) (netip.Addr, uint16, error) {
	host, portText, _ := strings.Cut(text, ":")
	raw, err := hex.DecodeString(host)
	if err != nil || len(raw)%4 != 0 {
		return netip.Addr{}, 0, fmt.Errorf("%q is no address", text)
	}
	for i := 0; i < len(raw); i += 4 {
		binary.NativeEndian.PutUint32(raw[i:], binary.BigEndian.Uint32(raw[i:]))
	}
	addr, ok := netip.AddrFromSlice(raw)
	port, err := strconv.ParseUint(portText, 16, 16)
	if !ok || err != nil {
		return netip.Addr{}, 0, fmt.Errorf("%q is no address", text)
	}
	return addr, uint16(port), nil
}
