package doctor

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"knockkit/internal/kernel/iptables"
	"knockkit/internal/rights"
	"knockkit/protocol"
	"knockkit/protocol/format"
	"knockkit/server"
)

// readKernel reads settings of the kernel and the clock.
func (f *facts) readKernel(ctx context.Context) {
	var err error
	f.Recent, err = iptables.ReadModule(ctx) // where it is not loaded, the trial shows that
	f.miss("xt_recent", err)
	_, err = os.Stat("/proc/sys/net/netfilter/nf_conntrack_max")
	f.Conntrack = err == nil

	var now unix.Timex
	state, err := unix.Adjtimex(&now)
	f.miss("the clock", err)
	f.Clock = clockState{Known: err == nil, Synchronised: state != unix.TIME_ERROR && now.Status&unix.STA_UNSYNC == 0}
}

// rpFilter reads the filter of an interface. A kernel without IPv4 has none.
func rpFilter(name string) string {
	text, _ := os.ReadFile("/proc/sys/net/ipv4/conf/" + name + "/rp_filter")
	return strings.TrimSpace(string(text))
}

// whatNetwork names the interfaces, where they could not be read.
const whatNetwork = "the network interfaces"

func (f *facts) readNetwork() {
	n, err := server.ReadNetwork(f.profiles())
	f.miss(whatNetwork, err)
	f.use(n)
	for _, l := range n.Links {
		if !l.Up || l.Loopback {
			continue
		}
		f.interfaces++
		switch max(rpFilter("all"), rpFilter(l.Name)) { // Documentation/networking/ip-sysctl.rst
		case "1":
			f.strict = append(f.strict, l.Name)
		case "2": // loose
		default:
			f.off = append(f.off, l.Name)
		}
	}
}

// use sets the interfaces and addresses that face strangers.
func (f *facts) use(n server.Network) {
	f.Network = n
	for _, l := range n.Links {
		l.Addrs = slices.DeleteFunc(slices.Clone(l.Addrs), netip.Addr.IsLoopback)
		for _, family := range protocol.Families() {
			f.network[family].add(l, family)
		}
	}
}

// add adds an interface and its addresses. Strangers connect to the address of any interface that
// faces them, and to addresses on loopback that are not loopback's own. Nothing comes in on an
// interface without an address, such as a bridge's port.
func (n *network) add(l server.Link, family protocol.Family) {
	if !l.Up {
		return
	}
	inner := container.MatchString(l.Name)
	for _, a := range l.Addrs {
		switch {
		case protocol.FamilyOf(a) != family:
		case inner, a.IsLinkLocalUnicast():
			n.aside = append(n.aside, a)
		default:
			n.addresses = append(n.addresses, a)
		}
	}
	if !l.Loopback && !inner && len(l.Addrs) > 0 {
		n.interfaces = append(n.interfaces, l.Name)
	}
}

// packet returns a knock of the profile, or the first packet of a connection to it.
func (f *facts) packet(p *protocol.Profile, family protocol.Family, k protocol.Knock) packet {
	n := f.network[family]
	if p.Interface != "" {
		n.interfaces, n.only = []string{p.Interface}, true
	}
	if len(p.To) > 0 {
		n.addresses, n.aside = within(p.To, n.addresses), within(p.To, n.aside)
	}
	return packet{Family: family, Knock: k, network: n}
}

func within(prefixes []netip.Prefix, addrs []netip.Addr) []netip.Addr {
	return slices.DeleteFunc(slices.Clone(addrs), func(a netip.Addr) bool {
		return !slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
	})
}

// sample is a profile that needs all that any profile needs of the kernel.
const sample = `sequence = ["icmp", "7421/tcp", "7422/udp"]
open = ["1/tcp"]
closed = "reject"
cut = true
close = "7423/tcp"
prefix = { ipv4 = 24, ipv6 = 64 }
`

// try installs a profile with a backend in an empty network namespace, reads it back
// and removes it. The host itself is not touched.
func try(ctx context.Context, name string) error {
	return rights.InEmptyNetwork(func() error {
		p, diagnostics := format.ParseProfile("sample.toml", []byte(sample))
		if diagnostics.HasErrors() {
			return diagnostics
		}
		b, _, err := server.OpenBackend(ctx, name)
		if err != nil {
			return err
		}
		settings := server.DefaultSettings()
		settings.Policy.Ban = &protocol.Ban{After: 3, For: time.Minute}
		s := server.New(b, settings)
		if _, err := s.Install(ctx, []*protocol.Profile{p}, server.InstallOptions{}); err != nil {
			return err
		}
		st, err := s.Status(ctx, nil, nil)
		if err == nil && len(st.Drift) > 0 {
			err = fmt.Errorf("what was written is read back otherwise: %s", st.Drift[0])
		}
		if err != nil {
			return err
		}
		_, err = s.Remove(ctx, nil)
		return err
	})
}
