package doctor

import (
	"fmt"
	"slices"
	"strings"

	"knockkit/protocol"
)

// match reads {"op": "==", "left": …, "right": …} as a condition in words.
func (sets nftSets) match(is any) (condition, string) {
	left, op, right := at(is, "left"), word(is, "op"), at(is, "right")
	keys, mask := nftKeys(left)
	key := strings.Join(keys, " . ")
	elements, known := sets.tuples(right)
	name := some(spelled(elements))
	if set, _ := right.(string); strings.HasPrefix(set, "@") {
		name = set
	}
	text := key + " " + name
	if op == "!=" {
		text = key + " != " + name
	}
	c := always(perhaps, matching(text))
	switch {
	case key == "tcp flags":
		c = nftFlags(op, mask, nftStrings(right))
	case !known || mask != nil:
	case op == "!=":
		c = nftAmong(keys, elements, name).not()
	case op == "==", op == "in":
		c = nftAmong(keys, elements, name)
	}
	return needing(keys, c), text
}

// needing adds the condition that a key implies: "ip saddr" is for IPv4, "tcp dport" for TCP.
func needing(keys []string, c condition) condition {
	return condition{func(p packet) answer {
		for _, key := range keys {
			if header, _, _ := strings.Cut(key, " "); !p.has(header) {
				return no
			}
		}
		return c.is(p)
	}, c.words}
}

// has reports whether the packet has a header that nft names.
func (p packet) has(header string) bool {
	switch header {
	case "ip", "icmp", "ip6", "icmpv6":
		return (p.Family == protocol.IPv6) == strings.Contains(header, "6")
	case "tcp", "udp":
		return p.Knock.Proto.String() == header
	}
	return true
}

// nftFlags compares flags of TCP: those in the mask with "==", any of them with "in".
func nftFlags(op string, mask, set []string) condition {
	if mask == nil {
		mask = []string{"all"}
	}
	c := condition{func(p packet) answer {
		if op == "in" {
			return sure(slices.ContainsFunc(set, func(flag string) bool { return named(p.flags(), flag) }))
		}
		return flagsAre(p, mask, set)
	}, matching("tcp flags " + strings.Join(set, ","))}
	if op == "!=" {
		return c.not()
	}
	return c
}

// keys is the condition that a map has the packet's key.
func (sets nftSets) keys(v any) []condition {
	in := at(v, "map")
	if in == nil {
		return nil
	}
	keys, _ := nftKeys(at(in, "key"))
	pairs, known := sets.pairs(at(in, "data"))
	var all [][]string
	for _, pair := range pairs {
		one, ok := nftTuple(pair[0])
		all, known = append(all, one), known && ok
	}
	if !known {
		return []condition{always(perhaps, matching(strings.Join(keys, " . ")+" map"))}
	}
	return []condition{needing(keys, nftAmong(keys, all, some(spelled(all))))}
}

// spelled joins the parts of one element.
func spelled(elements [][]string) []string {
	var all []string
	for _, e := range elements {
		all = append(all, strings.Join(e, " . "))
	}
	return all
}

// nftAmong compares the packet's values of the keys with any of the elements.
func nftAmong(keys []string, elements [][]string, name string) condition {
	var each []func(packet) answer
	if len(keys) == 1 { // together: each may have some of the host's addresses
		elements, each = nil, append(each, nftEqual(keys[0], slices.Concat(elements...)))
	}
	for _, e := range elements {
		var parts []func(packet) answer
		for i, key := range keys[:min(len(keys), len(e))] {
			parts = append(parts, nftEqual(key, e[i:i+1]))
		}
		each = append(each, func(p packet) (all answer) {
			all = yes
			for _, is := range parts {
				all = min(all, is(p))
			}
			return all
		})
	}
	key := strings.Join(keys, " . ")
	words, known := nftWords[key]
	if words += name; !known {
		words = matching(key + " " + name)
	}
	return condition{anyOf(each), words}
}

func anyOf(each []func(packet) answer) func(packet) answer {
	return func(p packet) (best answer) {
		for _, is := range each {
			if best = max(best, is(p)); best == yes {
				break
			}
		}
		return best
	}
}

// nftWords are the words for packets whose key has a value.
var nftWords = map[string]string{
	"meta iif": "come in by ", "meta iifname": "come in by ", "meta oif": "go out by ", "meta oifname": "go out by ",
	"ip saddr": "come from ", "ip6 saddr": "come from ", "ip daddr": "go to ", "ip6 daddr": "go to ",
	"tcp sport": "come from port ", "udp sport": "come from port ", "th sport": "come from port ",
	"tcp dport": "go to port ", "udp dport": "go to port ", "th dport": "go to port ",
}

// nftEqual compares the packet's value of the key with any of the values. Matches of iptables that
// nft has a key for are compared by it too.
func nftEqual(key string, values []string) func(packet) answer {
	if slices.Contains(values, "*") {
		return func(packet) answer { return yes }
	}
	oneOf := func(is func(packet, string) answer) func(packet) answer {
		var each []func(packet) answer
		for _, v := range values {
			each = append(each, func(p packet) answer { return is(p, v) })
		}
		return anyOf(each)
	}
	_, field, _ := strings.Cut(key, " ")
	switch key {
	case "tcp dport", "udp dport", "th dport", "tcp sport", "udp sport", "th sport":
		return portIs(values, field == "sport")
	case "ip saddr", "ip6 saddr", "ip daddr", "ip6 daddr":
		return addressIs(values, field == "saddr")
	case "meta l4proto", "ip protocol", "ip6 nexthdr":
		return oneOf(func(p packet, v string) answer { return protoIs(v)(p) })
	case "meta nfproto", "meta protocol":
		return func(p packet) answer {
			return sure(slices.Contains(values, p.Family.String()) || slices.Contains(values, nftFamilies[p.Family]))
		}
	case "ct state":
		return func(p packet) answer { return stateIs(p, values) }
	case "ct direction":
		return func(p packet) answer { return sure(named(values, "reply") == (p.stage == reply)) }
	case "ct status":
		return oneOf(func(p packet, v string) answer {
			if p.stage == first && !p.routed && (v == "dnat" || v == "snat" || v == "assured" || v == "seen-reply") {
				return no // for a first packet to this host
			}
			return perhaps
		})
	case "meta iif", "meta iifname", "meta oif", "meta oifname":
		return oneOf(func(p packet, v string) answer { return interfaceIs(v, strings.HasPrefix(field, "oif"))(p) })
	case "fib daddr type", "fib saddr type":
		return func(p packet) answer { return typeIs(p, (key == "fib daddr type") == (p.stage != reply), values) }
	case "icmp type", "icmpv6 type":
		echo := map[protocol.Family][]string{protocol.IPv4: {"8", "echo-request", "any"}, protocol.IPv6: {"128", "echo-request"}}
		return oneOf(func(p packet, v string) answer {
			kind, _, _ := strings.Cut(v, "/") // of iptables, with the code
			return sure(p.Knock.Proto == protocol.ICMP && slices.Contains(echo[p.Family], kind))
		})
	}
	return func(packet) answer { return perhaps }
}

// verdicts reads {"key": …, "data": {"set": [[value, verdict], …]}}, or a map's name, as a rule for
// each element. An unknown map has none.
func (sets nftSets) verdicts(is any) []*rule {
	keys, _ := nftKeys(at(is, "key"))
	key := strings.Join(keys, " . ")
	pairs, _ := sets.pairs(at(is, "data"))
	var all, last []*rule
	for _, pair := range pairs {
		decision, _ := pair[1].(map[string]any)
		for name, is := range decision {
			v, target, ok := nftVerdict(name, is)
			if !ok {
				continue
			}
			values, known := nftTuple(pair[0])
			text := strings.Join(values, " . ")
			c := always(perhaps, matching(key+" "+text))
			if known {
				c = needing(keys, nftAmong(keys, [][]string{values}, text))
			}
			to := &all
			if text == "*" {
				to = &last // for packets that no other element matches
			}
			*to = append(*to, &rule{text: fmt.Sprintf("%s %s : %s", key, text, name), conditions: []condition{c}, verdict: v, target: target})
		}
	}
	return append(all, last...)
}
