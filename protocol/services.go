package protocol

import (
	"bufio"
	"bytes"
	"io"
	"slices"
	"strconv"
	"strings"

	"knockkit/internal/files"
)

// servicesFile lists the names of ports on Unix systems.
const servicesFile = "/etc/services"

// maxServicesSize is ten times what the largest has.
const maxServicesSize = 4 << 20

// lookupService returns the port of a service. Our own list comes first, so that
// a profile means the same port on the server and on every client: macOS,
// Windows, and containers without the file included. What it does not know is
// looked up in /etc/services.
func lookupService(name string, proto Proto) (port uint16, ok bool) {
	if port, ok = findService(strings.NewReader(commonServices), name, proto); ok {
		return port, true
	}
	text, err := files.Read(servicesFile, maxServicesSize)
	if err != nil {
		return 0, false
	}
	return findService(bytes.NewReader(text), name, proto)
}

// findService reads lines in the form of /etc/services: a name, "PORT/PROTO",
// and other names of the same port.
func findService(r io.Reader, name string, proto Proto) (port uint16, ok bool) {
	eachService(r, func(names []string, p uint16, its Proto) bool {
		if its == proto && slices.Contains(names, name) {
			port, ok = p, true
		}
		return !ok
	})
	return port, ok
}

func eachService(r io.Reader, visit func(names []string, port uint16, proto Proto) bool) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line, _, _ := strings.Cut(lines.Text(), "#")
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		number, protocol, _ := strings.Cut(words[1], "/")
		port, err := strconv.ParseUint(number, 10, 16)
		proto, known := protoByName(protocol)
		if err != nil || port == 0 || !known || proto == ICMP {
			continue
		}
		if !visit(append(words[:1:1], words[2:]...), uint16(port), proto) {
			return
		}
	}
}

// serviceNames returns the names that a mistyped one may have meant. Only our
// list is asked, so that a hint is the same everywhere.
func serviceNames(proto Proto) []string {
	var all []string
	eachService(strings.NewReader(commonServices), func(names []string, _ uint16, its Proto) bool {
		if its == proto {
			all = append(all, names...)
		}
		return true
	})
	return all
}

func protoByName(name string) (Proto, bool) {
	for _, p := range []Proto{ICMP, TCP, UDP} {
		if name == p.String() {
			return p, true
		}
	}
	return 0, false
}
