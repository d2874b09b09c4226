package node

import (
	"bytes"
	"strings"
	"testing"

	"knockkit/server/fleet"
)

func TestATextIsOpenedByWhoHasTheSecretAndUnderItsNameAlone(t *testing.T) {
	s, id := newSeals("web", fleet.Secret{1}), ID{1, 2, 3}
	name := s.name(id)
	sealed := s.seal(name, []byte("text"))
	if text, err := s.open(name, sealed); err != nil || string(text) != "text" {
		t.Errorf("%q, %v", text, err)
	}
	if back, ok := s.id(name); !ok || back != id {
		t.Errorf("%s is %x", name, back)
	}
	for what, other := range map[string]*seals{"another secret": newSeals("web", fleet.Secret{2}), "another fleet": newSeals("mail", fleet.Secret{1})} {
		if _, err := other.open(name, sealed); err == nil {
			t.Errorf("%s opens it", what)
		}
		if other.name(id) == name || other.word("bucket") == s.word("bucket") || bytes.Equal(other.derive("authority", 32), s.derive("authority", 32)) {
			t.Errorf("%s has the same names", what)
		}
	}
	if _, err := s.open(s.name(ID{9}), sealed); err == nil {
		t.Error("another name opens it")
	}
	for i := range sealed {
		changed := bytes.Clone(sealed)
		changed[i] ^= 1
		if _, err := s.open(name, changed); err == nil {
			t.Errorf("byte %d is of no matter", i)
		}
		if _, err := s.open(name, sealed[:i]); err == nil {
			t.Errorf("cut after %d bytes it opens", i)
		}
	}
	for _, no := range []string{"", "00", strings.Repeat("g", 32), name + "00"} {
		if _, ok := s.id(no); ok {
			t.Errorf("%q is a name", no)
		}
	}
}

func TestTheLengthOfASealedTextTellsLittle(t *testing.T) {
	s := newSeals("web", fleet.Secret{1})
	lengths := map[int]bool{}
	for n := range padding {
		text := bytes.Repeat([]byte{1}, n) // ends like the padding
		sealed := s.seal("name", text)
		lengths[len(sealed)] = true
		if back, err := s.open("name", sealed); err != nil || !bytes.Equal(back, text) {
			t.Errorf("%d bytes: %q, %v", n, back, err)
		}
	}
	if len(lengths) != 1 {
		t.Errorf("lengths %v", lengths)
	}
}

func FuzzASealedTextIsOpenedOrRefused(f *testing.F) {
	s := newSeals("web", fleet.Secret{1})
	f.Add("name", s.seal("name", []byte("text")))
	f.Add("", []byte{sealVersion})
	f.Fuzz(func(t *testing.T, name string, sealed []byte) {
		if text, err := s.open(name, sealed); err == nil && name != "name" {
			t.Errorf("%q opens %q", name, text)
		}
		s.id(name)
	})
}
