package doctor

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"knockkit/protocol"
)

// nftSets are the elements of a table's sets and maps that have names.
type nftSets map[string][]json.RawMessage

// match reads {"op": "==", "left": …, "right": …}, and says it in words.
func (sets nftSets) match(raw json.RawMessage) (condition, string) {
	var m struct {
		Op          string
		Left, Right json.RawMessage
	}
	if json.Unmarshal(raw, &m) != nil {
		return always(perhaps, matching("…")), "…"
	}
	keys, mask := nftKeys(m.Left)
	key := strings.Join(keys, " . ")
	elements, known := sets.tuples(m.Right)
	name := some(spelled(elements))
	if at, ok := setName(m.Right); ok {
		name = at
	}
	text := fmt.Sprintf("%s %s", key, name)
	if m.Op == "!=" {
		text = fmt.Sprintf("%s != %s", key, name)
	}
	c := always(perhaps, matching(text))
	switch {
	case key == "tcp flags":
		c = nftFlags(m.Op, mask, nftStrings(m.Right))
	case !known || mask != nil:
	case m.Op == "==", m.Op == "in":
		c = nftAmong(keys, elements, name)
	case m.Op == "!=":
		c = nftAmong(keys, elements, name).not()
	}
	return needing(keys, c), text
}

// needing adds what a key asks silently: "ip saddr" is of IPv4, "tcp dport" of TCP.
func needing(keys []string, c condition) condition {
	is := c.is
	var headers []string
	for _, key := range keys {
		header, _, _ := strings.Cut(key, " ")
		headers = append(headers, header)
	}
	c.is = func(p Packet) answer {
		for _, header := range headers {
			if !p.has(header) {
				return no
			}
		}
		return is(p)
	}
	return c
}

// has reports whether the packet has a header that nft names.
func (p Packet) has(header string) bool {
	switch header {
	case "ip", "icmp":
		return p.Family == protocol.IPv4
	case "ip6", "icmpv6":
		return p.Family == protocol.IPv6
	case "tcp":
		return p.Knock.Proto == protocol.TCP
	case "udp":
		return p.Knock.Proto == protocol.UDP
	}
	return true
}

// nftKeys names the left side: "tcp dport", "meta l4proto", "ct state"; "?" for what
// we do not know. There are several of a concatenation. mask is not nil where only some
// bits are asked for.
func nftKeys(raw json.RawMessage) (keys, mask []string) {
	var left struct {
		Payload *struct{ Protocol, Field string }
		Meta    *struct{ Key string }
		CT      *struct{ Key string }
		Fib     *struct {
			Result string
			Flags  []string
		}
		Concat []json.RawMessage
		And    []json.RawMessage `json:"&"`
	}
	key := "?"
	switch {
	case json.Unmarshal(raw, &left) != nil:
	case left.Payload != nil:
		key = left.Payload.Protocol + " " + left.Payload.Field
	case left.Meta != nil:
		key = "meta " + left.Meta.Key
	case left.CT != nil:
		key = "ct " + left.CT.Key
	case left.Fib != nil:
		key = "fib " + strings.Join(left.Fib.Flags, ",") + " " + left.Fib.Result
	case len(left.Concat) > 0:
		for _, part := range left.Concat {
			of, _ := nftKeys(part)
			keys = append(keys, of...)
		}
		return keys, nil
	case len(left.And) == 2:
		keys, _ = nftKeys(left.And[0])
		return keys, append([]string{}, nftStrings(left.And[1])...)
	}
	return []string{key}, nil
}

// nftStrings returns all texts of a value, however they are nested.
func nftStrings(raw json.RawMessage) (all []string) {
	var text string
	var list []json.RawMessage
	var object map[string]json.RawMessage
	switch {
	case json.Unmarshal(raw, &text) == nil:
		return []string{text}
	case json.Unmarshal(raw, &list) == nil:
	case json.Unmarshal(raw, &object) == nil:
		for _, part := range object {
			list = append(list, part)
		}
	}
	for _, part := range list {
		all = append(all, nftStrings(part)...)
	}
	return all
}

// nftFlags compares flags of TCP: those in the mask with "==", any of them with "in".
func nftFlags(op string, mask, set []string) condition {
	c := condition{words: matching("tcp flags " + strings.Join(set, ","))}
	if mask == nil {
		mask = []string{"all"}
	}
	c.is = func(p Packet) answer { return flagsAre(p, mask, set) }
	switch op {
	case "in":
		c.is = func(p Packet) answer {
			return sure(slices.ContainsFunc(set, func(flag string) bool { return named(p.flags(), flag) }))
		}
	case "!=":
		c = c.not()
	}
	return c
}

// setName returns the name of a set, "@blocked".
func setName(raw json.RawMessage) (string, bool) {
	var text string
	err := json.Unmarshal(raw, &text)
	return text, err == nil && strings.HasPrefix(text, "@")
}

// tuples reads what a key is compared with: a value, or the elements of a set. Each is
// a list of one, or of as many as the key's concatenation has. known is false for what
// we cannot read.
func (sets nftSets) tuples(raw json.RawMessage) (all [][]string, known bool) {
	var object struct{ Set, Concat []json.RawMessage }
	var list []json.RawMessage
	if name, ok := setName(raw); ok {
		elements, there := sets[name[1:]]
		if !there {
			return nil, false
		}
		list = elements
	} else if json.Unmarshal(raw, &list) != nil {
		switch {
		case json.Unmarshal(raw, &object) == nil && object.Set != nil:
			list = object.Set
		case object.Concat != nil:
			one, ok := sets.tuple(raw)
			return [][]string{one}, ok
		default:
			one, ok := sets.values(raw)
			return [][]string{one}, ok
		}
	}
	known = true
	for _, e := range list {
		one, ok := sets.tuple(e)
		all, known = append(all, one), known && ok
	}
	return all, known
}

// tuple reads an element of a set, with or without an end of its own.
func (sets nftSets) tuple(raw json.RawMessage) (all []string, known bool) {
	var object struct {
		Elem   *struct{ Val json.RawMessage }
		Concat []json.RawMessage
	}
	if json.Unmarshal(raw, &object) == nil {
		switch {
		case object.Elem != nil:
			return sets.tuple(object.Elem.Val)
		case object.Concat != nil:
			known = true
			for _, part := range object.Concat {
				v, ok := sets.values(part)
				all, known = append(all, v...), known && ok && len(v) == 1
			}
			return all, known
		}
	}
	return sets.values(raw)
}

// values reads a value, a range or a prefix.
func (sets nftSets) values(raw json.RawMessage) (values []string, known bool) {
	var text string
	var number int64
	var object struct {
		Range  []json.RawMessage
		Prefix *struct {
			Addr string
			Len  int
		}
	}
	var list []json.RawMessage
	switch {
	case len(raw) == 0 || string(raw) == "null":
		return nil, false
	case json.Unmarshal(raw, &number) == nil:
		return []string{strconv.FormatInt(number, 10)}, true
	case json.Unmarshal(raw, &text) == nil:
		return []string{text}, !strings.HasPrefix(text, "@")
	case json.Unmarshal(raw, &list) == nil:
		known = true
		for _, part := range list {
			v, ok := sets.values(part)
			values, known = append(values, v...), known && ok
		}
		return values, known
	case json.Unmarshal(raw, &object) != nil:
	case object.Prefix != nil:
		return []string{fmt.Sprintf("%s/%d", object.Prefix.Addr, object.Prefix.Len)}, true
	case len(object.Range) == 2:
		first, ok1 := sets.values(object.Range[0])
		last, ok2 := sets.values(object.Range[1])
		return []string{strings.Join(first, "") + "-" + strings.Join(last, "")}, ok1 && ok2
	}
	return []string{"…"}, false
}

// keys returns what a value that is looked up in a map needs: that its key is there.
func (sets nftSets) keys(raw json.RawMessage) []condition {
	var object struct {
		Map *struct{ Key, Data json.RawMessage }
	}
	if json.Unmarshal(raw, &object) != nil || object.Map == nil {
		return nil
	}
	keys, _ := nftKeys(object.Map.Key)
	text := strings.Join(keys, " . ") + " map"
	pairs, known := sets.pairs(object.Map.Data)
	var all [][]string
	for _, pair := range pairs {
		one, ok := sets.tuple(pair[0])
		all, known = append(all, one), known && ok
	}
	if !known {
		return []condition{always(perhaps, matching(text))}
	}
	return []condition{needing(keys, nftAmong(keys, all, some(spelled(all))))}
}

// pairs reads the elements of a map, with or without a name.
func (sets nftSets) pairs(raw json.RawMessage) (all [][]json.RawMessage, known bool) {
	var object struct{ Set []json.RawMessage }
	if name, ok := setName(raw); ok {
		if object.Set, ok = sets[name[1:]]; !ok {
			return nil, false
		}
	} else if json.Unmarshal(raw, &object) != nil {
		return nil, false
	}
	for _, e := range object.Set {
		var pair []json.RawMessage
		if json.Unmarshal(e, &pair) != nil || len(pair) != 2 {
			return nil, false
		}
		all = append(all, pair)
	}
	return all, true
}

// spelled joins what belongs to one element.
func spelled(elements [][]string) []string {
	var all []string
	for _, e := range elements {
		all = append(all, strings.Join(e, " . "))
	}
	return all
}

// nftAmong compares what the keys stand for with any of the elements.
func nftAmong(keys []string, elements [][]string, name string) condition {
	c := condition{words: nftWords(strings.Join(keys, " . "), []string{name})}
	if len(keys) == 1 {
		var values []string
		for _, e := range elements {
			values = append(values, e...)
		}
		c.is = nftEqual(keys[0], values)
		return c
	}
	var each []func(Packet) answer
	for _, e := range elements {
		each = append(each, nftTuple(keys, e))
	}
	c.is = anyOf(each)
	return c
}

// nftTuple compares a concatenation with one element.
func nftTuple(keys, element []string) func(Packet) answer {
	var parts []func(Packet) answer
	for i, key := range keys {
		if i < len(element) {
			parts = append(parts, nftEqual(key, element[i:i+1]))
		}
	}
	return func(p Packet) answer {
		all := yes
		for _, is := range parts {
			all = min(all, is(p))
		}
		return all
	}
}

func anyOf(each []func(Packet) answer) func(Packet) answer {
	return func(p Packet) answer {
		best := no
		for _, is := range each {
			if best = max(best, is(p)); best == yes {
				break
			}
		}
		return best
	}
}

// nftWords says what is true of packets whose key has one of the values.
func nftWords(key string, values []string) string {
	text := some(values)
	switch key {
	case "meta iif", "meta iifname":
		return "come in by " + text
	case "meta oif", "meta oifname":
		return "go out by " + text
	case "ip saddr", "ip6 saddr":
		return "come from " + text
	case "ip daddr", "ip6 daddr":
		return "go to " + text
	case "tcp sport", "udp sport", "th sport":
		return "come from port " + text
	case "tcp dport", "udp dport", "th dport":
		return "go to port " + text
	}
	return matching(key + " " + text)
}

// nftEqual compares what the key stands for with any of the values.
func nftEqual(key string, values []string) func(Packet) answer {
	if slices.Contains(values, "*") {
		return func(Packet) answer { return yes }
	}
	oneOf := func(is func(Packet, string) answer) func(Packet) answer {
		return func(p Packet) answer {
			best := no
			for _, v := range values {
				if best = max(best, is(p, v)); best == yes {
					break
				}
			}
			return best
		}
	}
	_, field, _ := strings.Cut(key, " ")
	switch key {
	case "tcp dport", "udp dport", "th dport", "tcp sport", "udp sport", "th sport":
		return portIs(strings.Join(values, ","), "-", field == "sport").is
	case "ip saddr", "ip6 saddr", "ip daddr", "ip6 daddr":
		return addressIs(values, field == "saddr").is
	case "meta l4proto", "ip protocol", "ip6 nexthdr":
		var each []func(Packet) answer
		for _, v := range values {
			each = append(each, protoIs(v))
		}
		return anyOf(each)
	case "meta nfproto":
		return oneOf(func(p Packet, v string) answer { return sure(v == p.Family.String()) })
	case "meta protocol":
		return oneOf(func(p Packet, v string) answer {
			return sure(v == map[protocol.Family]string{protocol.IPv4: "ip", protocol.IPv6: "ip6"}[p.Family])
		})
	case "ct state":
		return func(p Packet) answer { return sure(named(values, p.state())) }
	case "ct direction":
		return func(p Packet) answer { return sure(named(values, "reply") == (p.stage == reply)) }
	case "ct status":
		return oneOf(func(p Packet, v string) answer {
			if p.stage == first && !p.routed && (v == "dnat" || v == "snat" || v == "assured" || v == "seen-reply") {
				return no // of a first packet that is for this host
			}
			return perhaps
		})
	case "meta iif", "meta iifname", "meta oif", "meta oifname":
		out := strings.HasPrefix(field, "oif")
		var each []func(Packet) answer
		for _, v := range values {
			each = append(each, interfaceIs(v, out).is)
		}
		return anyOf(each)
	case "fib daddr type", "fib saddr type":
		return func(p Packet) answer { return typeIs(p, (key == "fib daddr type") == (p.stage != reply), values) }
	case "icmp type", "icmpv6 type":
		return oneOf(func(p Packet, v string) answer { return sure(p.Knock.Proto == protocol.ICMP && isEcho(p.Family, v)) })
	}
	return func(Packet) answer { return perhaps }
}

// element is one line of a map of verdicts.
type element struct {
	condition condition
	verdict   verdict
	target    string
	text      string
}

// elements reads {"key": …, "data": {"set": [[value, verdict], …]}}, or a map's name. Of
// a map that is not known there are none.
func (sets nftSets) elements(raw json.RawMessage) []element {
	var m struct{ Key, Data json.RawMessage }
	if json.Unmarshal(raw, &m) != nil {
		return nil
	}
	keys, _ := nftKeys(m.Key)
	key := strings.Join(keys, " . ")
	pairs, _ := sets.pairs(m.Data)
	var all, last []element
	for _, pair := range pairs {
		var decision map[string]json.RawMessage
		if json.Unmarshal(pair[1], &decision) != nil {
			continue
		}
		for name, raw := range decision {
			v, target, ok := nftVerdict(name, raw)
			if !ok {
				continue
			}
			values, known := sets.tuple(pair[0])
			text := strings.Join(values, " . ")
			e := element{always(perhaps, matching(key+" "+text)), v, target, fmt.Sprintf("%s %s : %s", key, text, name)}
			if known {
				e.condition = needing(keys, nftAmong(keys, [][]string{values}, text))
			}
			if text == "*" {
				last = append(last, e) // what no other element is about
			} else {
				all = append(all, e)
			}
		}
	}
	return append(all, last...)
}
