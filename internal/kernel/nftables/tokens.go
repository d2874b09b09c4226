package nftables

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	gnft "github.com/google/nftables"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"knockkit/internal/kernel/backend"
	"knockkit/protocol"
)

// markKey is the key of the marks: an element without an end of the tokens and of the used ones, whose
// comment says which slots were loaded. A flush of either takes its mark along. A packet with this
// payload is an ordinary one: the number of the mark is that of no key.
var markKey = []byte("knock/1 the mark")

// mark is what the comment of the mark says.
type mark struct {
	highest int64 // slot of which tokens were loaded
	first   int64 // that was loaded since nobody knew which tokens were used up
}

func (m mark) String() string { return fmt.Sprintf("slots %d %d", m.highest, m.first) }

// Tokens reads what the kernel has for signed profiles. Errors: those of the context,
// [backend.ErrPrivilege]; why the record cannot be read.
func (Backend) Tokens(ctx context.Context) (is backend.Tokens, err error) {
	err = untilQuiet(func(s *socket) (err error) {
		is, err = s.tokens(ctx)
		return err
	})
	if errors.Is(err, errAbsent) {
		return backend.Tokens{}, nil
	}
	return is, err
}

func (s *socket) tokens(ctx context.Context) (is backend.Tokens, err error) {
	t := newTable()
	if err := s.read(ctx, t, extent{chains: []string{aboutChain}}); err != nil {
		return is, fmt.Errorf("reading nftables: %w", err)
	}
	about, err := readAbout(t)
	if err != nil || t.sets[tokensMap] == nil {
		return is, err
	}
	is.Profiles = about.signedNumbers
	leases, former, seen := map[number]int{}, 0, map[number]bool{}
	twice := false
	for _, set := range []string{usersSet, formerSet} {
		err := s.elements(ctx, set, func(attrs []byte) {
			k, ok := parseKeyComment(commentOf(valueOf(attrs, unix.NFTA_SET_ELEM_USERDATA)))
			key := valueOf(attrs, unix.NFTA_SET_ELEM_KEY, unix.NFTA_DATA_VALUE)
			if ok && len(key) == 4 {
				k.Number, k.Former = binary.NativeEndian.Uint32(key), set == formerSet
				twice = twice || seen[number(k.Number)]
				seen[number(k.Number)] = true
				is.Keys = append(is.Keys, k)
				if k.Former {
					former++
				}
			}
		})
		if err != nil {
			return is, err
		}
	}
	if twice { // the kernel makes room for a set that has grown: for each that comes twice another is left out
		return is, errChanged
	}
	if former > 0 { // else nobody asks
		for _, f := range protocol.Families() {
			err := s.elements(ctx, whoPrefix+digit(f), func(attrs []byte) {
				if key := valueOf(attrs, unix.NFTA_SET_ELEM_KEY, unix.NFTA_DATA_VALUE); len(key) > 4 {
					leases[number(binary.NativeEndian.Uint32(key[len(key)-4:]))]++
				}
			})
			if err != nil && !errors.Is(err, unix.ENOENT) { // no gate in that family
				return is, err
			}
		}
	}
	for i := range is.Keys {
		is.Keys[i].Leases = leases[number(is.Keys[i].Number)]
	}
	loaded, err := s.mark(ctx, tokensMap)
	if err != nil {
		return is, err
	}
	m, err := s.mark(ctx, spentSet)
	is.Slot, is.First, is.Known = m.highest, m.first, m != mark{} && m == loaded
	return is, err
}

// elements calls each for the attributes of the elements of a set.
func (s *socket) elements(ctx context.Context, set string, each func(attrs []byte)) error {
	return s.ask(ctx, ours(unix.NFT_MSG_GETSETELEM, attribute(unix.NFTA_SET_ELEM_LIST_SET, set)), func(_ byte, attrs []byte) error {
		elementsOf(attrs, each)
		return nil
	})
}

// mark returns the mark of a set. It is zero where there is none.
func (s *socket) mark(ctx context.Context, set string) (m mark, err error) {
	_, err = s.find(ctx, set, markKey, func(attrs []byte) {
		_, _ = fmt.Sscanf(commentOf(valueOf(attrs, unix.NFTA_SET_ELEM_USERDATA)), "slots %d %d", &m.highest, &m.first)
	})
	return m, err
}

// find asks for one element, without reading the others, and reports whether it is there.
func (s *socket) find(ctx context.Context, set string, of []byte, each func(attrs []byte)) (found bool, err error) {
	key := nl.NewRtAttr(unix.NFTA_SET_ELEM_KEY|unix.NLA_F_NESTED, nil)
	key.AddRtAttr(unix.NFTA_DATA_VALUE, of)
	list := nl.NewRtAttr(unix.NFTA_SET_ELEM_LIST_ELEMENTS|unix.NLA_F_NESTED, nil)
	item := list.AddRtAttr(1|unix.NLA_F_NESTED, nil) // NFTA_LIST_ELEM
	item.AddChild(key)
	one := ours(unix.NFT_MSG_GETSETELEM, attribute(unix.NFTA_SET_ELEM_LIST_SET, set), list.Serialize())
	one.dump = false
	err = s.ask(ctx, one, func(_ byte, attrs []byte) error {
		elementsOf(attrs, func(attrs []byte) {
			if bytes.Equal(valueOf(attrs, unix.NFTA_SET_ELEM_KEY, unix.NFTA_DATA_VALUE), of) {
				found = true
				each(attrs)
			}
		})
		return nil
	})
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	return found, err
}

// CommitTokens makes a change of what [Backend.Tokens] has read, in one transaction where the socket's
// buffer takes it; else the last tokens are in further ones. The caller has the host's lock. Errors:
// [backend.ErrStale] where the mark, or the table, has gone since; [backend.ErrPrivilege]; that there
// is no more room.
func (Backend) CommitTokens(ctx context.Context, was backend.Tokens, c backend.TokenChange) error {
	b, err := newBatch()
	if err != nil {
		return tokensError(err)
	}
	defer b.close()
	b.marks(was, c)
	keys, numbers := slices.Clone(was.Keys), newNumberer(was.Keys)
	for _, k := range c.Drop {
		b.remove(usersSet, gnft.SetElement{Key: keyOfNumber(k.Number)})
		k.Dropped = c.Slot
		b.put(formerSet, gnft.SetElement{Key: keyOfNumber(k.Number), Comment: keyComment(k)})
	}
	for _, k := range c.Forget {
		b.remove(formerSet, gnft.SetElement{Key: keyOfNumber(k.Number)})
	}
	for _, k := range c.Add {
		is := backend.LoadedKey{Profile: k.Profile, User: k.User, ID: k.ID()}
		if is.Number = uint32(numbers.next(was.Profiles[k.Profile])); is.Number == 0 {
			return fmt.Errorf("profile %s has no room for another key: it has 65,535", k.Profile)
		}
		keys = append(keys, is)
		b.put(usersSet, gnft.SetElement{Key: keyOfNumber(is.Number), Comment: keyComment(is)})
	}
	byName := map[string]uint32{}
	for _, k := range keys {
		if !k.Former || byName[k.String()] == 0 {
			byName[k.String()] = k.Number
		}
	}
	if !c.Clear {
		if err := b.takeOut(ctx, c.Gone); err != nil {
			return tokensError(err)
		}
	}
	for _, s := range c.Load {
		for _, e := range tokensOf(s, byName) {
			if c.Spent == nil || !c.Spent(protocol.Token(e.Key)) {
				b.put(tokensMap, e)
			}
		}
	}
	b.flush(ctx)
	return tokensError(b.err)
}

// marks replaces the marks. The transaction fails where one has gone since the reading.
func (b *batch) marks(was backend.Tokens, c backend.TokenChange) {
	for _, set := range []string{spentSet, tokensMap} {
		e := gnft.SetElement{Key: markKey}
		switch {
		case c.Clear && set == tokensMap:
			b.clear(set)
		case !was.Known:
			b.put(set, e) // first, since it may not be there
			fallthrough
		default:
			b.remove(set, e)
		}
		e.Comment = mark{c.Slot, c.First}.String()
		if set == tokensMap {
			e.Val = keyOfNumber(0)
		}
		b.put(set, e)
	}
}

// mostGone is how many keys' tokens are taken out, each of which is asked for. Those of others expire:
// their keys may open nothing by then.
const mostGone = 100

// takeOut removes tokens that are there. The transaction fails where one of them is used meanwhile.
func (b *batch) takeOut(ctx context.Context, gone []backend.SlotOf) error {
	if len(gone) == 0 || len(gone[0].Keys) > mostGone {
		return nil
	}
	s, err := dial()
	if err != nil {
		return err
	}
	defer s.close()
	for _, of := range gone {
		for _, t := range eachToken(of) {
			found, err := s.find(ctx, tokensMap, t[:], func([]byte) {})
			if err != nil {
				return err
			}
			if found {
				b.remove(tokensMap, gnft.SetElement{Key: t[:]})
			}
		}
	}
	return nil
}

// TakeOutTokens takes tokens out that are there: they were spent at another server. The caller has the
// host's lock. Errors: [backend.ErrStale] where one of them is used meanwhile; [backend.ErrPrivilege].
func (Backend) TakeOutTokens(ctx context.Context, tokens []protocol.Token) error {
	s, err := dial()
	if err != nil {
		return tokensError(err)
	}
	defer s.close()
	b, err := newBatch()
	if err != nil {
		return tokensError(err)
	}
	defer b.close()
	some := false
	for _, t := range tokens {
		found, err := s.find(ctx, tokensMap, t[:], func([]byte) {})
		if err != nil {
			return tokensError(err)
		}
		if some = some || found; found {
			b.remove(tokensMap, gnft.SetElement{Key: t[:]})
		}
	}
	if some {
		b.flush(ctx)
	}
	return tokensError(b.err)
}

// eachToken returns the tokens of keys in a slot, those of a key one after another.
func eachToken(s backend.SlotOf) []protocol.Token {
	all := make([]protocol.Token, 0, len(s.Keys)*protocol.Indexes)
	for i := range s.Keys {
		for index := range protocol.Indexes {
			all = append(all, s.Keys[i].Token(s.Slot, index))
		}
	}
	return all
}

// tokensOf returns the tokens of keys in a slot as elements. Keys without a number are left out.
func tokensOf(s backend.SlotOf, byName map[string]uint32) (all []gnft.SetElement) {
	n := uint32(0)
	for i, t := range eachToken(s) {
		k := &s.Keys[i/protocol.Indexes]
		if i%protocol.Indexes == 0 {
			n = byName[backend.LoadedKey{Profile: k.Profile, User: k.User, ID: k.ID()}.String()]
		}
		if n != 0 {
			all = append(all, gnft.SetElement{Key: t[:], Val: keyOfNumber(n), Timeout: s.Left})
		}
	}
	return all
}

// numberer gives keys their numbers.
type numberer struct {
	taken   map[number]bool
	highest map[uint16]uint16 // by the number of the profile
}

func newNumberer(keys []backend.LoadedKey) *numberer {
	n := &numberer{map[number]bool{}, map[uint16]uint16{}}
	for _, k := range keys {
		n.take(number(k.Number))
	}
	return n
}

func (n *numberer) take(key number) {
	n.taken[key] = true
	n.highest[key.profileOf()] = max(n.highest[key.profileOf()], uint16(key))
}

// next returns the number for another key of a profile, 0 where there is none. It is the one behind the
// highest: so that of a key that is forgotten comes back late.
func (n *numberer) next(profile uint16) number {
	key := n.highest[profile]
	for range 1 << 16 {
		if key++; key > 0 && !n.taken[keyNumber(profile, key)] {
			n.take(keyNumber(profile, key))
			return keyNumber(profile, key)
		}
	}
	return 0
}

// keyOfNumber is a key's number as an element of a set has it.
func keyOfNumber(n uint32) []byte { return binary.NativeEndian.AppendUint32(nil, n) }

// keyComment is the comment of a key's number: whose it is, and of a former key the slot in which it
// became one.
func keyComment(k backend.LoadedKey) string {
	words := []string{k.Profile, k.User, k.ID}
	if k.Dropped > 0 {
		words = append(words, strconv.FormatInt(k.Dropped, 10))
	}
	return strings.Join(words, " ")
}

// parseKeyComment reads what keyComment writes.
func parseKeyComment(text string) (k backend.LoadedKey, ok bool) {
	words := strings.Fields(text)
	if len(words) < 3 {
		return k, false
	}
	if len(words) > 3 {
		k.Dropped, _ = strconv.ParseInt(words[3], 10, 64) // else it is an old one
	}
	k.Profile, k.User, k.ID = words[0], words[1], words[2]
	return k, true
}

// tokensError translates an error of the kernel.
func tokensError(err error) error {
	switch {
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("nftables: %w", backend.ErrPrivilege)
	case errors.Is(err, unix.ENOENT):
		return fmt.Errorf("%w: %w", backend.ErrStale, err)
	case errors.Is(err, unix.ENFILE), errors.Is(err, unix.ENOSPC):
		return fmt.Errorf("the kernel has room for the tokens of %d keys, and there are more", tokensSize/(protocol.Indexes*(1+protocol.EarlySlots+protocol.LateSlots)))
	}
	if number := unix.Errno(0); errors.As(err, &number) { // the library repeats it for each message
		err = number
	}
	if err != nil {
		return fmt.Errorf("loading tokens: %w", err)
	}
	return nil
}
