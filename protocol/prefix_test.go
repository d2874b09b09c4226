package protocol

import "testing"

func TestAnAddressAndAPrefixAreReadAndWrittenAlike(t *testing.T) {
	for text, want := range map[string]string{
		"198.51.100.7":            "198.51.100.7",
		"198.51.100.7/32":         "198.51.100.7",
		"198.51.100.0/24":         "198.51.100.0/24",
		"198.51.100.7/24":         "198.51.100.7/24", // whose caller says what is wrong with it
		"::ffff:198.51.100.7":     "198.51.100.7",
		"::ffff:198.51.100.0/120": "198.51.100.0/24",
		"2001:db8::7":             "2001:db8::7",
		"2001:db8::/32":           "2001:db8::/32",
		"::/0":                    "::/0",
	} {
		p, err := ParsePrefix(text)
		if got := PrefixText(p); err != nil || got != want {
			t.Errorf("%s is %s, %v, not %s", text, got, err, want)
		}
	}
	for _, text := range []string{"", "nobody", "198.51.100.0/33", "fe80::1%eth0", "fe80::%eth0/64", "/24"} {
		if p, err := ParsePrefix(text); err == nil {
			t.Errorf("%q is read as %s", text, p)
		}
	}
}
