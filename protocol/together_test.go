package protocol_test

import (
	"errors"
	"strings"
	"testing"

	"knockkit/protocol"
	"knockkit/protocol/format"
)

func TestProfilesThatSayTwoThingsAboutOnePortAreRefusedTogether(t *testing.T) {
	const opensDB = "sequence = [\"7421/tcp\", \"3190/tcp\", \"811/udp\"]\nopen = [\"3306/tcp\", \"6000-6010/tcp\"]\n"
	for name, tc := range map[string]struct{ other, want string }{
		"nothing in common":          {"sequence = [\"811/tcp\", \"733/tcp\"]\nopen = [\"22/tcp\"]", ""},
		"the same port opened":       {"sequence = [\"811/tcp\", \"733/tcp\"]\nopen = [\"3306/tcp\"]", ""},
		"the port of other protocol": {"sequence = [\"3306/udp\", \"733/tcp\"]\nopen = [\"22/tcp\"]", ""},
		"a port knocked on": {"sequence = [\"811/tcp\", \"6005/tcp\"]\nopen = [\"22/tcp\"]",
			"profiles db and other cannot be installed together: db opens 6005/tcp, and it is a knock of other"},
		"a port that closes": {"sequence = [\"811/tcp\", \"733/tcp\"]\nopen = [\"22/tcp\"]\nclose = \"3306/tcp\"",
			"profiles db and other cannot be installed together: db opens 3306/tcp, which closes other"},
		"a knock that closes": {"sequence = [\"811/tcp\", \"733/tcp\"]\nopen = [\"22/tcp\"]\nclose = \"7421/tcp\"",
			"profiles other and db cannot be installed together: 7421/tcp closes other, and it is a knock of db"},
		"the carrier's port of tcp": {"signed = { carrier = \"3306/udp\" }\nopen = [\"22/tcp\"]", ""},
		"a carrier that is a knock": {"signed = { carrier = \"811/udp\" }\nopen = [\"22/tcp\"]", ""},
		"a port opened at two places": {"sequence = [\"811/tcp\", \"733/tcp\"]\nopen = [\"6010-6020/tcp\"]\nplace = \"prerouting\"",
			"profiles other and db cannot be installed together: both open 6010/tcp, other with place = \"prerouting\" and db without: a lease of db would not get past the gate of other"},
	} {
		t.Run(name, func(t *testing.T) {
			db, ds := format.ParseProfile("db.toml", []byte(opensDB))
			other, more := format.ParseProfile("other.toml", []byte(tc.other))
			if db == nil || other == nil {
				t.Fatal(ds, more)
			}
			for _, order := range [][]*protocol.Profile{{db, other}, {other, db}} {
				got := ""
				if err := errors.Join(protocol.CheckTogether(order)...); err != nil {
					got = err.Error()
				}
				if got != tc.want {
					t.Errorf("got %q, want %q", got, tc.want)
				}
			}
		})
	}
}

func TestSignedProfilesMayShareACarrier(t *testing.T) {
	admin, _ := format.ParseProfile("admin.toml", []byte("signed = { carrier = \"icmp\" }\nopen = [\"22/tcp\"]"))
	web, _ := format.ParseProfile("web.toml", []byte("signed = { carrier = \"icmp\" }\nopen = [\"80/tcp\"]\ninterface = \"eth0\""))
	if errs := protocol.Check([]*protocol.Profile{admin, web}); len(errs) > 0 {
		t.Error(errs)
	}
}

func TestACarrierIsAKnockTo(t *testing.T) {
	vpn, _ := format.ParseProfile("vpn.toml", []byte("sequence = [\"811/tcp\", \"733/tcp\"]\nopen = [\"51820/udp\"]"))
	signed, _ := format.ParseProfile("signed.toml", []byte("signed = { carrier = \"51820/udp\" }\nopen = [\"22/tcp\"]"))
	closing, _ := format.ParseProfile("closing.toml", []byte("sequence = [\"844/tcp\", \"722/tcp\"]\nopen = [\"23/tcp\"]\nclose = \"51820/udp\""))
	errs := protocol.CheckTogether([]*protocol.Profile{vpn, signed, closing})
	// vpn opens the carrier and the close knock; closing closes by the carrier.
	if len(errs) != 3 {
		t.Errorf("got %v", errs)
	}
	const want = "profiles vpn and signed cannot be installed together: vpn opens 51820/udp, and it carries the tokens of signed"
	if all := errors.Join(errs...).Error(); !strings.Contains(all, want) {
		t.Errorf("%q does not say %q", all, want)
	}
	var conflict *protocol.ConflictError
	if !errors.As(errors.Join(errs...), &conflict) {
		t.Errorf("%v are no ConflictErrors", errs)
	}
}
