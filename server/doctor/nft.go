package doctor

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"knockkit/protocol"
)

// nftTool is the tool of chains that only nft lists.
const nftTool = "nft"

// ofDevice reports whether the kernel calls a chain for some interfaces only.
func (c *chain) ofDevice() bool { return c.point.hook == ingress || c.point.hook == egress }

// calledFor sets the interfaces of a chain; with none they are not known.
func (c *chain) calledFor(names []string) {
	key := map[int]string{ingress: "meta iifname", egress: "meta oifname"}[c.point.hook]
	c.device = &condition{always(perhaps, "").is, "pass the interface of that chain"}
	if len(names) > 0 {
		is := nftAmong([]string{key}, [][]string{names}, some(names))
		c.device = &is
	}
}

// parseNFT reads the output of `nft -j list table` (libnftables-json(5)): the table,
// "inet filter", and its chains.
func parseNFT(text string) (table string, all []*chain, err error) {
	var doc struct{ Nftables []map[string]any }
	in := json.NewDecoder(strings.NewReader(text))
	in.UseNumber()
	if err := in.Decode(&doc); err != nil {
		return "", nil, fmt.Errorf("nft -j: %w", err)
	}
	sets := nftSets{}
	for _, o := range doc.Nftables {
		for _, s := range []any{o["set"], o["map"]} {
			sets[word(s, "name")], _ = at(s, "elem").([]any)
		}
	}
	byName := map[string]*chain{}
	for _, o := range doc.Nftables {
		if is := o["table"]; is != nil {
			table = word(is, "family") + " " + word(is, "name")
		}
		family, known := nftFamily(word(o["chain"], "family"))
		if is := o["chain"]; is != nil && known {
			c := &chain{tool: nftTool, family: family, table: word(is, "family") + " " + word(is, "table"), name: word(is, "name"),
				policy: accept, nat: word(is, "type") == "nat"}
			priority, _ := strconv.Atoi(word(is, "prio"))
			if c.point = (hookPoint{nftHooks[word(is, "hook")], priority}); c.nat {
				c.point = c.point.nat()
			}
			if word(is, "policy") == "drop" {
				c.policy = drop
			}
			all, byName[c.name] = append(all, c), c
		}
		is := o["rule"]
		c := byName[word(is, "chain")]
		if is == nil || c == nil {
			continue
		}
		text := word(is, "comment")
		if text == "" {
			text = "handle " + word(is, "handle")
		}
		expr, _ := at(is, "expr").([]any)
		for _, r := range sets.rules(expr) {
			r.text = text + ": " + r.text
			r.handle, _ = strconv.Atoi(word(is, "handle"))
			c.rules = append(c.rules, r)
		}
	}
	return table, all, nil
}

var nftHooks = map[string]int{"ingress": ingress, "prerouting": prerouting, "input": input, "forward": forward,
	"output": localOutput, "postrouting": postrouting, "egress": egress}

func nftFamily(name string) (protocol.Family, bool) {
	f, ok := map[string]protocol.Family{"ip": protocol.IPv4, "ip6": protocol.IPv6, "inet": protocol.Both, "netdev": protocol.Both}[name]
	return f, ok
}

// rules turns a rule of nft into rules of ours. A map of verdicts becomes a rule for each element;
// statements behind a verdict never run.
func (sets nftSets) rules(expr []any) []*rule {
	var conditions []condition
	var words []string
	var all []*rule
	decides := func(v verdict, text, target string, more ...condition) *rule {
		r := &rule{verdict: v, target: target, conditions: slices.Concat(conditions, more)}
		r.text = strings.TrimSpace(strings.Join(words, " ") + " " + strings.TrimSpace(text))
		all = append(all, r)
		return r
	}
	asks := func(c condition, text string) { conditions, words = append(conditions, c), append(words, text) }
	for _, statement := range expr {
		if name, short := statement.(string); short { // as "notrack"
			statement = map[string]any{name: nil}
		}
		object, _ := statement.(map[string]any)
		for name, is := range object {
			switch name {
			case "match":
				asks(sets.match(is))
			case "vmap":
				for _, e := range sets.verdicts(is) {
					decides(e.verdict, e.text, e.target, e.conditions...)
				}
			case "limit", "quota", "ct count", "socket", "connlimit":
				asks(always(perhaps, matching(name)), name)
			case "queue":
				decides(accept, name, "", always(perhaps, "a program accepts (queue)"))
			case "xt": // a match or target of iptables: nft prints its name only
				xt := word(is, "name")
				if word(is, "type") != "target" {
					asks(always(perhaps, matching(strings.TrimSpace("xt "+xt))), name)
				} else if v := target(xt, "", nil); v != jump {
					decides(v, xt, "")
				}
			case "synproxy":
				decides(goOn, name, "")
			case "dnat", "redirect":
				to, more := sets.destination(is)
				decides(divert, name, "", more...).to = to
			default:
				if v, target, ok := nftVerdict(name, is); ok {
					decides(v, name+" "+target, target)
				}
			}
		}
	}
	return all
}

// destination reads the destination of a NAT statement, and the conditions that it brings: its
// family in a table of both, and the packet's key in its map.
func (sets nftSets) destination(is any) (to destination, needs []condition) {
	if f, ok := nftFamily(word(is, "family")); ok && f != protocol.Both {
		needs = append(needs, condition{func(p packet) answer { return sure(p.Family == f) }, ""})
	}
	var parts [2]string
	known := true
	for i, name := range []string{"addr", "port"} {
		part := at(is, name)
		if part == nil {
			continue
		}
		values, ok := nftValues(part)
		if known = known && ok && len(values) == 1; known {
			parts[i] = values[0]
		}
		needs = append(needs, sets.keys(part)...)
	}
	if known {
		to = parseDestination(parts[0], parts[1])
	}
	return to, needs
}

// nftVerdict reads a statement that decides: {"accept": null}, {"jump": {"target": …}}.
func nftVerdict(name string, is any) (v verdict, target string, ok bool) {
	v, ok = map[string]verdict{"accept": accept, "drop": drop, "reject": drop, "fwd": drop, "return": back,
		"notrack": untrack, "jump": jump, "goto": jumpAway}[name]
	if v == jump || v == jumpAway {
		target = word(is, "target")
	}
	return v, target, ok
}
