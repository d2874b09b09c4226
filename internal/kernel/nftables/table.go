package nftables

import (
	"encoding/binary"
	"iter"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"knockkit/internal/kernel/backend"
)

// table is our table in the kernel.
type table struct {
	exists     bool
	dormant    bool                         // all of its chains are unhooked
	generation uint32                       // counts the transactions that changed any rules of the host
	objects    map[string]*kernelObject     // by kind and name
	chains     map[string]*kernelObject     // by name
	sets       map[string]*kernelObject     // and maps, by name
	keys       map[number]backend.LoadedKey // of signed profiles, where the reading has leases
}

func newTable() *table {
	return &table{objects: map[string]*kernelObject{}, chains: map[string]*kernelObject{}, sets: map[string]*kernelObject{}, keys: map[number]backend.LoadedKey{}}
}

// kernelObject is an object in the kernel. Comments and the digest are of the rules that were read.
type kernelObject struct {
	kind, name string
	digest     digest
	head       [6]byte // a buffer for the head of an attribute that is added to the digest

	// Of a chain:
	hooked   bool
	comments []string
	inRules  []string // anonymous sets, each of one rule, in the order of the rules

	// Of a set or map:
	is        setName
	fixed     bool // its elements are part of the rules, not put there by packets
	anonymous bool // it belongs to one rule
	count     int  // elements, some of which may be over; -1: the kernel does not say
	elements  []element
	who       []element // of who4 and who6
	raw       []string  // of a fixed set: its elements in the kernel's form, where they were read
}

// add reads an object. Its digest is over the attributes of the given kinds.
func (t *table) add(kind string, attrs []byte, name uint16, digested ...uint16) *kernelObject {
	p := &kernelObject{kind: kind, name: stringOf(valueOf(attrs, name)), count: -1}
	for kind, value := range attributes(attrs) {
		if slices.Contains(digested, kind) {
			p.add(kind, value)
		}
	}
	t.objects[kind+" "+p.name] = p
	return p
}

// add adds to the digest.
func (p *kernelObject) add(kind uint16, value []byte) {
	p.digest = p.digest.with(framed(p.head[:0], kind, value)).with(value)
}

// element is what a packet has put into a set.
type element struct {
	Address          netip.Addr
	Number           number        `json:",omitempty"` // of a map of positions
	Timeout, Expires time.Duration // the whole time and what is left of it; 0: no end
}

// Numbers of linux/netfilter/nf_tables.h that package unix does not have.
const (
	nftaChainFlags    = 10
	nftaSetCount      = 20
	nftaSetElemKeyEnd = 10
	userdataComment   = 0 // of a rule, as nft writes it
)

// addChain reads a chain, without its rules.
func (t *table) addChain(attrs []byte) {
	c := t.add(chainKind, attrs, unix.NFTA_CHAIN_NAME, unix.NFTA_CHAIN_HOOK, unix.NFTA_CHAIN_POLICY, unix.NFTA_CHAIN_TYPE, nftaChainFlags)
	c.hooked = valueOf(attrs, unix.NFTA_CHAIN_HOOK) != nil
	t.chains[c.name] = c
}

// addRule reads a rule. The rules of a chain come in their order.
func (t *table) addRule(attrs []byte) {
	c := t.chains[stringOf(valueOf(attrs, unix.NFTA_RULE_CHAIN))]
	if c == nil {
		return
	}
	userdata := valueOf(attrs, unix.NFTA_RULE_USERDATA)
	c.comments = append(c.comments, commentOf(userdata))
	c.add(unix.NFTA_RULE_USERDATA, userdata)
	for _, e := range attributes(valueOf(attrs, unix.NFTA_RULE_EXPRESSIONS)) {
		c.addExpression(e)
	}
}

// commentOf finds a rule's comment in its user data. Each item there is a byte for its kind, one for
// its length, and its value.
func commentOf(userdata []byte) string {
	for len(userdata) >= 2 && len(userdata) >= 2+int(userdata[1]) {
		value := userdata[2 : 2+int(userdata[1])]
		if userdata[0] == userdataComment {
			return stringOf(value)
		}
		userdata = userdata[2+len(value):]
	}
	return ""
}

// addExpression reads a part of a rule, without the counters that packets change.
func (c *kernelObject) addExpression(attrs []byte) {
	name := stringOf(valueOf(attrs, unix.NFTA_EXPR_NAME))
	c.add(unix.NFTA_EXPR_NAME, []byte(name))
	for kind, value := range attributes(valueOf(attrs, unix.NFTA_EXPR_DATA)) {
		switch {
		case name == "counter" || name == "last":
		case name == "quota" && kind == unix.NFTA_QUOTA_FLAGS:
			const inverted = 1 // the other flag says that it is used up
			c.add(kind, []byte{byte(numberOf(value)) & inverted})
		case name == "quota" && kind == unix.NFTA_QUOTA_CONSUMED:
		default:
			c.add(kind, value)
		}
		if name == "lookup" && kind == unix.NFTA_LOOKUP_SET && strings.HasPrefix(stringOf(value), anonymousPrefix) {
			c.inRules = append(c.inRules, stringOf(value))
		}
	}
}

// anonymousPrefix begins the names that nft gives to sets inside a rule.
const anonymousPrefix = "__"

// addSet reads a set or map, without its elements.
func (t *table) addSet(attrs []byte) {
	flags, kind := numberOf(valueOf(attrs, unix.NFTA_SET_FLAGS)), setKind
	if flags&unix.NFT_SET_MAP != 0 {
		kind = mapKind
	}
	s := t.add(kind, attrs, unix.NFTA_SET_NAME, unix.NFTA_SET_FLAGS, unix.NFTA_SET_KEY_TYPE, unix.NFTA_SET_KEY_LEN, unix.NFTA_SET_DATA_TYPE,
		unix.NFTA_SET_DATA_LEN, unix.NFTA_SET_DESC, unix.NFTA_SET_TIMEOUT)
	s.is = parseSetName(s.name)
	s.fixed, s.anonymous = flags&unix.NFT_SET_TIMEOUT == 0, flags&unix.NFT_SET_ANONYMOUS != 0
	if count := valueOf(attrs, nftaSetCount); count != nil {
		s.count = int(numberOf(count))
	}
	t.sets[s.name] = s
}

// addLimit reads a limit that several rules share.
func (t *table) addLimit(attrs []byte) {
	if numberOf(valueOf(attrs, unix.NFTA_OBJ_TYPE)) == unix.NFT_OBJECT_LIMIT {
		t.add(limitKind, attrs, unix.NFTA_OBJ_NAME, unix.NFTA_OBJ_DATA)
	}
}

// elementsOf yields the attributes of the elements in a message.
func elementsOf(attrs []byte, yield func(attrs []byte)) {
	for _, e := range attributes(valueOf(attrs, unix.NFTA_SET_ELEM_LIST_ELEMENTS)) {
		yield(e)
	}
}

// fixedElement returns an element without what packets change in it.
func fixedElement(attrs []byte) string {
	var b []byte
	for kind, value := range attributes(attrs) {
		switch kind {
		case unix.NFTA_SET_ELEM_KEY, nftaSetElemKeyEnd, unix.NFTA_SET_ELEM_DATA, unix.NFTA_SET_ELEM_FLAGS, unix.NFTA_SET_ELEM_OBJREF:
			b = append(framed(b, kind, value), value...)
		}
	}
	return string(b)
}

// parseElement reads an element that a packet has put into a set; ok is false where it is not of our
// form.
func parseElement(attrs []byte) (e element, ok bool) {
	e = timesOf(attrs)
	e.Address, ok = netip.AddrFromSlice(valueOf(attrs, unix.NFTA_SET_ELEM_KEY, unix.NFTA_DATA_VALUE))
	if data := valueOf(attrs, unix.NFTA_SET_ELEM_DATA, unix.NFTA_DATA_VALUE); len(data) == 4 {
		e.Number = number(binary.NativeEndian.Uint32(data))
	}
	return e, ok
}

// timesOf returns an element that has only the times of this one.
func timesOf(attrs []byte) element {
	milliseconds := func(kind uint16) time.Duration {
		return time.Duration(numberOf(valueOf(attrs, kind))) * time.Millisecond
	}
	return element{Timeout: milliseconds(unix.NFTA_SET_ELEM_TIMEOUT), Expires: milliseconds(unix.NFTA_SET_ELEM_EXPIRATION)}
}

// attributes yields the attributes (struct nlattr) of a netlink message, without the flags in their
// types. It ends at a broken one.
func attributes(b []byte) iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		for len(b) >= unix.NLA_HDRLEN {
			size := int(binary.NativeEndian.Uint16(b))
			kind := binary.NativeEndian.Uint16(b[2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
			if size < unix.NLA_HDRLEN || size > len(b) || !yield(kind, b[unix.NLA_HDRLEN:size]) {
				return
			}
			b = b[min((size+unix.NLA_ALIGNTO-1)&^(unix.NLA_ALIGNTO-1), len(b)):]
		}
	}
}

// valueOf returns the value at the end of a path of nested attributes; nil: there is none.
func valueOf(b []byte, path ...uint16) []byte {
	for _, wanted := range path {
		var found []byte
		for kind, value := range attributes(b) {
			if kind == wanted {
				found = value
				break
			}
		}
		b = found
	}
	return b
}

// attribute encodes an attribute whose value is a text.
func attribute(kind int, value string) []byte {
	return nl.NewRtAttr(kind, nl.ZeroTerminated(value)).Serialize()
}

// stringOf reads a text that a NUL ends.
func stringOf(value []byte) string { return unix.ByteSliceToString(value) }

// numberOf reads a number in the network's byte order, of 32 or 64 bits; 0 is none.
func numberOf(value []byte) uint64 {
	switch len(value) {
	case 4:
		return uint64(binary.BigEndian.Uint32(value))
	case 8:
		return binary.BigEndian.Uint64(value)
	}
	return 0
}
