package events

import (
	"os"
	"testing"

	"github.com/mdlayher/netlink"
)

// FuzzParsePacket: a stranger writes these bytes. Whatever they are, a packet has a
// source, and words for its kind.
func FuzzParsePacket(f *testing.F) {
	requireCorpus(f, "FuzzParsePacket")
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parsePacket(b)
		if err == nil && (!p.Source.IsValid() || !p.Dest.IsValid() || p.Kind == "") {
			t.Errorf("%x is %+v", b, p)
		}
	})
}

// FuzzParseLogged: the kernel writes these, but with a stranger's packet inside.
func FuzzParseLogged(f *testing.F) {
	requireCorpus(f, "FuzzParseLogged")
	attrs, err := netlink.MarshalAttributes([]netlink.Attribute{
		{Type: nfulaPrefix, Data: []byte("knockd knock mysql 2\x00")}, {Type: nfulaPayload, Data: []byte{0x45}}, {Type: nfulaSeq, Data: []byte{0, 0, 0, 7}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(append(make([]byte, genHeader), attrs...))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := parseLogged(b)
		if err == nil && l.ours && !l.report.Packet.Source.IsValid() {
			t.Errorf("%x is a report without a source: %+v", b, l)
		}
	})
}

// requireCorpus fails when the seeds of a target are gone: it would fuzz nothing.
func requireCorpus(f *testing.F, target string) {
	seeds, err := os.ReadDir("testdata/fuzz/" + target)
	if err != nil || len(seeds) == 0 {
		f.Fatalf("no corpus for %s: %v", target, err)
	}
}
