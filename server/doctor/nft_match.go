package doctor

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"knockkit/protocol"
)

// nftMatch reads {"op": "==", "left": …, "right": …}, and says it in words.
func nftMatch(raw json.RawMessage) (condition, string) {
	var m struct {
		Op          string
		Left, Right json.RawMessage
	}
	if json.Unmarshal(raw, &m) != nil {
		return always(perhaps), "…"
	}
	key := nftKey(m.Left)
	values, known := nftValues(m.Right)
	text := fmt.Sprintf("%s %s", key, strings.Join(values, ","))
	c := always(perhaps)
	switch {
	case !known:
	case m.Op == "==" || m.Op == "in":
		c = nftEqual(key, values)
	case m.Op == "!=":
		c, text = notThat(strings.HasPrefix(key, "meta iif"), nftEqual(key, values)), fmt.Sprintf("%s != %s", key, strings.Join(values, ","))
	}
	return c, text
}

// nftKey names the left side: "tcp dport", "meta l4proto", "ct state"; "?" for what
// we do not know.
func nftKey(raw json.RawMessage) string {
	var left struct {
		Payload *struct{ Protocol, Field string }
		Meta    *struct{ Key string }
		CT      *struct{ Key string }
		Fib     *struct {
			Result string
			Flags  []string
		}
		And []json.RawMessage `json:"&"`
	}
	if json.Unmarshal(raw, &left) != nil {
		return "?"
	}
	switch {
	case left.Payload != nil:
		return left.Payload.Protocol + " " + left.Payload.Field
	case left.Meta != nil:
		return "meta " + left.Meta.Key
	case left.CT != nil:
		return "ct " + left.CT.Key
	case left.Fib != nil:
		return "fib " + strings.Join(left.Fib.Flags, ",") + " " + left.Fib.Result
	case len(left.And) > 0:
		return nftKey(left.And[0])
	}
	return "?"
}

// nftValues reads the right side: a value, a range, a list, or a set of these. known
// is false for what is only a name, as "@blocked".
func nftValues(raw json.RawMessage) (values []string, known bool) {
	var text string
	var number int64
	var object struct {
		Range, Set []json.RawMessage
		Prefix     any
	}
	var list []json.RawMessage
	switch {
	case json.Unmarshal(raw, &number) == nil:
		return []string{strconv.FormatInt(number, 10)}, true
	case json.Unmarshal(raw, &text) == nil:
		return []string{text}, !strings.HasPrefix(text, "@")
	case json.Unmarshal(raw, &list) == nil:
	case json.Unmarshal(raw, &object) != nil:
		return []string{"…"}, false
	case len(object.Range) == 2:
		first, ok1 := nftValues(object.Range[0])
		last, ok2 := nftValues(object.Range[1])
		return []string{strings.Join(first, "") + "-" + strings.Join(last, "")}, ok1 && ok2
	case object.Set != nil:
		list = object.Set
	default:
		return []string{"…"}, false
	}
	known = true
	for _, e := range list {
		v, ok := nftValues(e)
		values, known = append(values, v...), known && ok
	}
	return values, known
}

// nftEqual compares what the key stands for with any of the values.
func nftEqual(key string, values []string) condition {
	oneOf := func(is func(Packet, string) answer) condition {
		return func(p Packet) answer {
			best := no
			for _, v := range values {
				best = max(best, is(p, v))
			}
			return best
		}
	}
	switch key {
	case "tcp dport", "udp dport", "th dport":
		ports, ok := parsePorts(strings.Join(values, ","), "-")
		proto, _, _ := strings.Cut(key, " ")
		in := portIn(ports, ok)
		return func(p Packet) answer {
			if proto != "th" && proto != p.Knock.Proto.String() {
				return no
			}
			return in(p)
		}
	case "meta l4proto", "ip protocol", "ip6 nexthdr":
		return oneOf(func(p Packet, v string) answer { return protoIs(v)(p) })
	case "meta nfproto":
		return oneOf(func(p Packet, v string) answer { return sure(v == p.Family.String()) })
	case "meta protocol":
		return oneOf(func(p Packet, v string) answer {
			return sure(v == map[protocol.Family]string{protocol.IPv4: "ip", protocol.IPv6: "ip6"}[p.Family])
		})
	case "ct state":
		return oneOf(func(_ Packet, v string) answer { return sure(v == "new") })
	case "ct status":
		return oneOf(func(_ Packet, v string) answer {
			if v == "dnat" || v == "snat" || v == "assured" || v == "seen-reply" {
				return no // of a first packet that is for this host
			}
			return perhaps
		})
	case "meta iif", "meta iifname":
		return oneOf(func(p Packet, v string) answer { return interfaceIs(v)(p) })
	case "fib daddr type":
		return oneOf(func(_ Packet, v string) answer { return sure(v == "local") })
	case "icmp type", "icmpv6 type":
		family := protocol.IPv4
		if key == "icmpv6 type" {
			family = protocol.IPv6
		}
		return oneOf(func(p Packet, v string) answer {
			return sure(p.Knock.Proto == protocol.ICMP && p.Family == family && isEcho(family, v))
		})
	case "tcp flags":
		return func(p Packet) answer {
			return sure(p.Knock.Proto == protocol.TCP && len(values) == 1 && values[0] == "syn")
		}
	}
	return always(perhaps)
}

// element is one line of a map of verdicts.
type element struct {
	condition condition
	verdict   verdict
	target    string
	text      string
}

// nftElements reads {"key": …, "data": {"set": [[value, verdict], …]}}. Of a named map
// the elements are not looked up: any of its verdicts could be.
func nftElements(raw json.RawMessage) []element {
	var m struct {
		Key  json.RawMessage
		Data struct{ Set [][]json.RawMessage }
	}
	if json.Unmarshal(raw, &m) != nil {
		return nil
	}
	key := nftKey(m.Key)
	var all []element
	for _, pair := range m.Data.Set {
		var decision map[string]json.RawMessage
		if len(pair) != 2 || json.Unmarshal(pair[1], &decision) != nil {
			continue
		}
		for name, raw := range decision {
			v, target, ok := nftVerdict(name, raw)
			if !ok {
				continue
			}
			values, known := nftValues(pair[0])
			e := element{always(perhaps), v, target, fmt.Sprintf("%s %s : %s", key, strings.Join(values, ","), name)}
			if known {
				e.condition = nftEqual(key, values)
			}
			all = append(all, e)
		}
	}
	return all
}
