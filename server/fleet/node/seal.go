package node

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"errors"

	"knockkit/server/fleet"
)

// ID is what a name stands for.
type ID = fleet.ID

// sealVersion begins each sealed text.
const sealVersion = 1

// padding is what the length of a sealed text is a multiple of, beside what sealing adds: so that it tells
// little.
const padding = 64

// seals hide names and texts behind keys that are derived from one secret.
type seals struct {
	of     string // the fleet
	secret fleet.Secret
	names  cipher.Block // a permutation of IDs, so that a name can be turned back
	texts  cipher.AEAD
}

func newSeals(of string, secret fleet.Secret) *seals {
	s := &seals{of: of, secret: secret}
	s.names, _ = aes.NewCipher(s.derive("names", 32)) // the length is right
	block, _ := aes.NewCipher(s.derive("texts", 32))
	s.texts, _ = cipher.NewGCMWithRandomNonce(block)
	return s
}

// derive returns a key for one purpose.
func (s *seals) derive(purpose string, length int) []byte {
	key, err := hkdf.Key(sha256.New, s.secret[:], nil, "knockd fleet 1\x00"+s.of+"\x00"+purpose, length)
	if err != nil {
		panic(err) // a length that no code asks for
	}
	return key
}

// word returns a derived password or name.
func (s *seals) word(purpose string) string { return hex.EncodeToString(s.derive(purpose, 16)) }

// name hides an ID.
func (s *seals) name(id ID) string {
	var hidden ID
	s.names.Encrypt(hidden[:], id[:])
	return hex.EncodeToString(hidden[:])
}

// id turns a name back. Any 16 bytes are somebody's: what is sealed says whether they are ours.
func (s *seals) id(name string) (id ID, ok bool) {
	hidden, err := hex.DecodeString(name)
	if err != nil || len(hidden) != len(id) {
		return id, false
	}
	s.names.Decrypt(id[:], hidden)
	return id, true
}

// seal hides a text, and ties it to a name.
func (s *seals) seal(name string, text []byte) []byte {
	padded := append(append([]byte(nil), text...), 1)
	for len(padded)%padding != 0 {
		padded = append(padded, 0)
	}
	return s.texts.Seal([]byte{sealVersion}, nil, padded, tied(name))
}

func tied(name string) []byte { return append([]byte{sealVersion}, name...) }

// errForged says that no node has sealed a text under a name.
var errForged = errors.New("no node of the fleet has written it")

// open returns the text that was sealed under a name.
func (s *seals) open(name string, sealed []byte) ([]byte, error) {
	if len(sealed) == 0 || sealed[0] != sealVersion {
		return nil, errForged
	}
	text, err := s.texts.Open(nil, nil, sealed[1:], tied(name))
	if err != nil {
		return nil, errForged
	}
	for i := len(text) - 1; i >= 0; i-- {
		if text[i] == 1 {
			return text[:i], nil
		}
		if text[i] != 0 {
			break
		}
	}
	return nil, errForged
}
