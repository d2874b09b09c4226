package docs

import (
	"fmt"
	"net/netip"
	"strings"

	"knockkit/internal/lab"
	"knockkit/protocol"
)

// Sources have the same number in both families. What holds in one must hold in the
// other: a test that sees a difference fails.
const barred = 0x0303 // the source that the tools are told to keep out: 203.0.113.9 on the page

// addresses turns the page's addresses into those of the test.
var addresses = strings.NewReplacer("203.0.113.9", lab.ForgedAddr4(barred).String(), "2001:db8:bad::9", lab.ForgedAddr6(barred).String())

func sources(i int) [2]netip.Addr { return [2]netip.Addr{lab.ForgedAddr4(i), lab.ForgedAddr6(i)} }

// newcomer returns a source that has not been here before.
func (m *machine) newcomer() int { m.guest++; return m.guest }

// knock lets a source knock the profile's sequence, in both families.
func (m *machine) knock(i int) {
	m.t.Helper()
	for _, src := range sources(i) {
		m.inject(lab.Echo(src, m.to(src), m.nextPort(), 1, nil))
		for _, port := range []uint16{7, 8000} {
			m.inject(lab.SYN(netip.AddrPortFrom(src, m.nextPort()), netip.AddrPortFrom(m.to(src), port)))
		}
	}
}

// gets reports whether a connection to a port is answered.
func (m *machine) gets(i int, port uint16) bool {
	m.t.Helper()
	var got [2]bool
	for f, src := range sources(i) {
		from := netip.AddrPortFrom(src, m.nextPort())
		m.drain()
		m.inject(lab.SYN(from, netip.AddrPortFrom(m.to(src), port)))
		for _, p := range m.drain() {
			got[f] = got[f] || p.Proto == protocol.TCP && p.Flags.Has(lab.FlagSYN|lab.FlagACK) && netip.AddrPortFrom(p.Dst, p.DstPort) == from
		}
	}
	if got[0] != got[1] {
		m.t.Errorf("port %d answers source %d over IPv4: %v, over IPv6: %v", port, i, got[0], got[1])
	}
	return got[0]
}

func (m *machine) to(src netip.Addr) netip.Addr {
	if src.Is4() {
		return m.host.Addr4
	}
	return m.host.Addr6
}

func (m *machine) nextPort() uint16 { m.port++; return m.port }

func (m *machine) inject(packet []byte) {
	m.t.Helper()
	if err := m.wire.Inject(packet); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) drain() []lab.Packet {
	m.t.Helper()
	raw, err := m.wire.Drain()
	if err != nil {
		m.t.Fatal(err)
	}
	var all []lab.Packet
	for _, r := range raw {
		if p, err := lab.Parse(r); err == nil {
			all = append(all, p)
		}
	}
	return all
}

// before lets a source knock whose lease is to last through all that follows.
func (m *machine) before() {
	m.t.Helper()
	m.early = m.newcomer()
	m.knock(m.early)
}

// visit adds a row to the table: who gets in now.
func (m *machine) visit(when string) {
	m.t.Helper()
	late := m.newcomer()
	m.knock(late)
	m.knock(barred)
	row := "| " + when
	for _, in := range []bool{
		m.gets(m.newcomer(), 3306), m.gets(m.early, 3306), m.gets(late, 3306), m.gets(barred, 3306), m.gets(late, 8080),
	} {
		row += " | " + map[bool]string{true: "in", false: "out"}[in]
	}
	m.rows = append(m.rows, row+" |")
}

// compare holds the rows against the page's table whose first column has the title.
func (m *machine) compare(title string) {
	m.t.Helper()
	title = fmt.Sprintf("%s, ours: `%s`", title, m.backend)
	if want := table(m.t, title); strings.Join(m.rows, "\n") != want {
		m.t.Errorf("the table %q of the page is\n%s\nand this is what happened\n%s", title, want, strings.Join(m.rows, "\n"))
	}
}
