package nftables

import "testing"

func TestKeysOverlapWhereTheyShareAPort(t *testing.T) {
	for _, c := range []struct {
		x, y string
		want bool
	}{
		{"tcp . 80", "tcp . 80", true}, {"tcp . 80", "udp . 80", false}, {"tcp . 80-90", "tcp . 90", true}, {"tcp . 80-90", "tcp . 91-95", false},
		{"tcp . 1-65535", "tcp . 7", true}, {"tcp . 80-90", "tcp . 70-80", true},
	} {
		if overlap(c.x, c.y) != c.want || overlap(c.y, c.x) != c.want {
			t.Errorf("%q and %q: not %v", c.x, c.y, c.want)
		}
	}
}
