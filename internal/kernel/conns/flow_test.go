package conns

import (
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

func TestAnEntryIsReadAsItIsWritten(t *testing.T) {
	for _, c := range []connection{
		{client: netip.MustParseAddrPort("198.51.100.2:40000"), server: netip.MustParseAddrPort("198.51.100.1:3306"), stage: established},
		{client: netip.MustParseAddrPort("[2001:db8::2]:40000"), server: netip.MustParseAddrPort("[2001:db8::1]:3306"),
			source: netip.MustParseAddrPort("[2001:db8::1]:7"), stage: stage{nl.TCP_CONNTRACK_LAST_ACK, statusConfirmed, retried}},
	} {
		f := flowOf(c.encode())
		if f.proto != unix.IPPROTO_TCP || f.asked != (way{c.client, c.server}) || f.answer != (way{c.server, c.client}) || f.state != c.stage.state || !f.pickedUp {
			t.Errorf("%+v is read as %+v", c, f)
		}
	}
}
