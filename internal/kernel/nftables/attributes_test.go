package nftables

import (
	"slices"
	"syscall"
	"testing"
)

// FuzzWhatTheKernelSaysIsReadWithoutAPanic: another kernel may say other things.
func FuzzWhatTheKernelSaysIsReadWithoutAPanic(f *testing.F) {
	f.Add(slices.Concat(attribute(1, TableName), attribute(2, "about"), attribute(3, "about"), attribute(7, "\x00\x05comm")))
	f.Add([]byte{5, 0, 1, 0, 9})
	f.Add([]byte{3, 0, 1, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		x := newTable()
		x.addChain(attribute(3, "about"))
		for _, add := range []func([]byte){x.addChain, x.addRule, x.addSet, x.addLimit} {
			add(b)
		}
		parseElement(b)
		fixedElement(b)
		elementsOf(b, func([]byte) {})
		_ = answered(syscall.NetlinkMessage{Data: b})
	})
}

// TestWhatIsNotOfTheRulesIsNotInTheirDigest: counters, what is used of a quota, when a rule
// was asked last.
func TestWhatIsNotOfTheRulesIsNotInTheirDigest(t *testing.T) {
	of := func(name string, data ...[]byte) digest {
		c := newTable().add(chainKind, nil, 0)
		c.addExpression(slices.Concat(attribute(1, name), attribute(2, string(slices.Concat(data...)))))
		return c.digest
	}
	for _, x := range []struct {
		name string
		a, b string
		kind int
		same bool
	}{
		{"counter", "\x00\x00\x00\x01\x00\x00\x00", "\x00\x00\x00\x02\x00\x00\x00", 1, true},
		{"last", "\x01\x00\x00", "\x02\x00\x00", 1, true},
		{"quota", "\x00\x00\x00\x01\x00\x00\x00", "\x00\x00\x00\x02\x00\x00\x00", 4, true},
		{"quota", "\x00\x00\x00\x01\x00\x00\x00", "\x00\x00\x00\x02\x00\x00\x00", 1, false},
		{"cmp", "\x01\x00\x00", "\x02\x00\x00", 1, false},
	} {
		if same := of(x.name, attribute(x.kind, x.a)) == of(x.name, attribute(x.kind, x.b)); same != x.same {
			t.Errorf("attribute %d of %s: same digest %v, want %v", x.kind, x.name, same, x.same)
		}
	}
}
