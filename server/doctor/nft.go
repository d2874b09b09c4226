package doctor

import (
	"encoding/json"
	"fmt"
	"strings"

	"knockkit/protocol"
)

// nftTool is the tool of chains that only nft shows.
const nftTool = "nft"

// ofDevice reports whether the kernel calls a chain for some interfaces only.
func (c *chain) ofDevice() bool { return c.place.hook == ingress || c.place.hook == egress }

// calledFor notes the interfaces of a chain. Of none, they are not known.
func (c *chain) calledFor(names []string) {
	key := map[int]string{ingress: "meta iifname", egress: "meta oifname"}[c.place.hook]
	c.device = &condition{always(perhaps, "").is, "pass the interface of that chain"}
	if len(names) > 0 {
		c.device = &condition{nftEqual(key, names), nftWords(key, names)}
	}
}

// jsonRuleset is `nft -j list table` (libnftables-json(5)), as far as we look.
type jsonRuleset struct {
	Nftables []struct {
		Table *struct{ Family, Name string }
		Chain *struct {
			Family, Table, Name, Type, Hook, Policy string
			Prio                                    int
		} `json:"chain"`
		Set, Map *nftSet
		Rule     *struct {
			Family, Table, Chain, Comment string
			Handle                        int
			Expr                          []json.RawMessage
		} `json:"rule"`
	} `json:"nftables"`
}

// nftSet is a set or a map with a name, and what is in it now.
type nftSet struct {
	Name string
	Elem []json.RawMessage
}

// parseNFT reads the output of `nft -j list table`: the table, "inet filter", and its chains.
func parseNFT(text string) (table string, all []*chain, err error) {
	var doc jsonRuleset
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		return "", nil, fmt.Errorf("nft -j: %w", err)
	}
	sets := nftSets{}
	for _, o := range doc.Nftables {
		for _, s := range []*nftSet{o.Set, o.Map} {
			if s != nil {
				sets[s.Name] = s.Elem
			}
		}
	}
	byName := map[string]*chain{}
	for _, o := range doc.Nftables {
		switch {
		case o.Table != nil:
			table = o.Table.Family + " " + o.Table.Name
		case o.Chain != nil:
			family, ok := nftFamily(o.Chain.Family)
			if !ok {
				continue
			}
			c := &chain{tool: nftTool, family: family, table: o.Chain.Family + " " + o.Chain.Table, name: o.Chain.Name, policy: accept, nat: o.Chain.Type == "nat"}
			c.place = place{nftHooks[o.Chain.Hook], o.Chain.Prio}
			if c.nat {
				c.place = c.place.nat()
			}
			if o.Chain.Policy == "drop" {
				c.policy = drop
			}
			all, byName[c.name] = append(all, c), c
		case o.Rule != nil:
			c := byName[o.Rule.Chain]
			if c == nil {
				continue
			}
			text := o.Rule.Comment
			if text == "" {
				text = fmt.Sprintf("handle %d", o.Rule.Handle)
			}
			for _, r := range sets.rules(o.Rule.Expr) {
				r.text, r.handle = text+": "+r.text, o.Rule.Handle
				c.add(r)
			}
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

// rules turns a rule into ours. A map of verdicts becomes a rule for each of its
// elements; statements behind a verdict never run.
func (sets nftSets) rules(expr []json.RawMessage) []*rule {
	var conditions []condition
	var words []string
	var all []*rule
	decides := func(v verdict, more []condition, text, target string) *rule {
		r := &rule{verdict: v, target: target, conditions: append(conditions[:len(conditions):len(conditions)], more...)}
		r.text = strings.TrimSpace(strings.Join(words, " ") + " " + strings.TrimSpace(text))
		all = append(all, r)
		return r
	}
	for _, statement := range expr {
		for name, raw := range nftStatement(statement) {
			switch name {
			case "match":
				c, text := sets.match(raw)
				conditions, words = append(conditions, c), append(words, text)
			case "vmap":
				for _, e := range sets.elements(raw) {
					decides(e.verdict, []condition{e.condition}, e.text, e.target)
				}
			case "limit", "quota", "ct count", "socket", "connlimit":
				conditions, words = append(conditions, always(perhaps, matching(name))), append(words, name)
			case "queue":
				decides(accept, []condition{always(perhaps, "a program accepts (queue)")}, name, "")
			case "xt":
				// A match or target of iptables, of which only the name is shown.
				var xt struct{ Type, Name string }
				if json.Unmarshal(raw, &xt) == nil && xt.Type == "target" {
					if v := target(xt.Name, "", nil); v != jump {
						decides(v, nil, xt.Name, "")
					}
					continue
				}
				conditions, words = append(conditions, always(perhaps, matching(strings.TrimSpace("xt "+xt.Name)))), append(words, name)
			case "synproxy":
				decides(goOn, nil, name, "")
			case "dnat", "redirect":
				to, more := sets.destination(raw)
				decides(divert, more, name, "").to = to
			default:
				if v, target, ok := nftVerdict(name, raw); ok {
					decides(v, nil, name+" "+target, target)
				}
			}
		}
	}
	return all
}

// destination reads where a statement of destination NAT leads, and what it needs for
// that: in a table of both families its own, and that its map has the packet's key.
func (sets nftSets) destination(raw json.RawMessage) (to destination, needs []condition) {
	var nat struct {
		Family     string
		Addr, Port json.RawMessage
	}
	if len(raw) > 0 && json.Unmarshal(raw, &nat) != nil {
		return to, nil
	}
	if f, ok := nftFamily(nat.Family); ok && f != protocol.Both {
		needs = append(needs, condition{func(p Packet) answer { return sure(p.Family == f) }, ""})
	}
	var parts [2]string
	known := true
	for i, part := range []json.RawMessage{nat.Addr, nat.Port} {
		if len(part) == 0 || string(part) == "null" {
			continue
		}
		values, ok := sets.values(part)
		known = known && ok && len(values) == 1
		if known {
			parts[i] = values[0]
		}
		needs = append(needs, sets.keys(part)...)
	}
	if known {
		to = parseDestination(parts[0], parts[1])
	}
	return to, needs
}

// nftStatement reads {"accept": null}; a few are only a name, as "notrack".
func nftStatement(raw json.RawMessage) map[string]json.RawMessage {
	var object map[string]json.RawMessage
	var name string
	if json.Unmarshal(raw, &object) == nil {
		return object
	}
	if json.Unmarshal(raw, &name) == nil {
		return map[string]json.RawMessage{name: nil}
	}
	return nil
}

// nftVerdict reads a statement that decides: {"accept": null}, {"jump": {"target": …}}.
func nftVerdict(name string, raw json.RawMessage) (v verdict, target string, ok bool) {
	switch name {
	case "accept":
		return accept, "", true
	case "drop", "reject", "fwd":
		return drop, "", true
	case "return":
		return back, "", true
	case "notrack":
		return untrack, "", true
	case "jump", "goto":
		var to struct{ Target string }
		if json.Unmarshal(raw, &to) != nil {
			return goOn, "", false
		}
		if name == "goto" {
			return jumpAway, to.Target, true
		}
		return jump, to.Target, true
	}
	return goOn, "", false
}
