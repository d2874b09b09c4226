package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"knockkit/protocol"
	"knockkit/server/nftables"
)

// nftTool is the tool of chains that `nft list ruleset` shows.
const nftTool = "nft"

// nftChains reads the tables of nft that are neither ours, which may be large, nor
// shown: another tool has listed those already.
func nftChains(ctx context.Context, shown map[string]bool) (host, error) {
	text, err := output(ctx, "nft", "list", "tables")
	if err != nil {
		return nil, err
	}
	var all host
	for line := range strings.Lines(text) { // "table inet filter"
		words := strings.Fields(line)
		if len(words) != 3 {
			continue
		}
		if table := words[1] + " " + words[2]; shown[table] || table == "inet "+nftables.TableName {
			continue
		}
		text, err := output(ctx, "nft", "-j", "list", "table", words[1], words[2])
		if err != nil {
			return all, err
		}
		chains, err := parseNFT(text)
		if err != nil {
			return all, err
		}
		all = append(all, chains...)
	}
	return all, nil
}

// jsonRuleset is `nft -j list table` (libnftables-json(5)), as far as we look.
type jsonRuleset struct {
	Nftables []struct {
		Chain *struct {
			Family, Table, Name, Hook, Policy string
			Prio                              int
		} `json:"chain"`
		Rule *struct {
			Family, Table, Chain, Comment string
			Handle                        int
			Expr                          []json.RawMessage
		} `json:"rule"`
	} `json:"nftables"`
}

// parseNFT reads the output of `nft -j list table`.
func parseNFT(text string) (host, error) {
	var doc jsonRuleset
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		return nil, fmt.Errorf("nft -j: %w", err)
	}
	var all host
	for _, o := range doc.Nftables {
		switch {
		case o.Chain != nil:
			family, ok := nftFamily(o.Chain.Family)
			if !ok {
				continue
			}
			c := &chain{tool: nftTool, family: family, table: o.Chain.Family + " " + o.Chain.Table, name: o.Chain.Name, policy: accept}
			c.place = place{map[string]int{"ingress": ingress, "prerouting": prerouting, "input": input}[o.Chain.Hook], o.Chain.Prio}
			if o.Chain.Policy == "drop" {
				c.policy = drop
			}
			all = append(all, c)
		case o.Rule != nil:
			c := all.find(o.Rule.Family+" "+o.Rule.Table, o.Rule.Chain)
			if c == nil {
				continue
			}
			text := o.Rule.Comment
			if text == "" {
				text = fmt.Sprintf("handle %d", o.Rule.Handle)
			}
			for _, r := range nftRules(o.Rule.Expr) {
				r.text = text + ": " + r.text
				c.add(r)
			}
		}
	}
	return all, nil
}

func nftFamily(name string) (protocol.Family, bool) {
	f, ok := map[string]protocol.Family{"ip": protocol.IPv4, "ip6": protocol.IPv6, "inet": protocol.Both, "netdev": protocol.Both}[name]
	return f, ok
}

func (h host) find(table, name string) *chain {
	for _, c := range h {
		if c.tool == nftTool && c.table == table && c.name == name {
			return c
		}
	}
	return nil
}

// nftRules turns a rule into ours. A map of verdicts becomes a rule for each of its
// elements; statements behind a verdict never run.
func nftRules(expr []json.RawMessage) []*rule {
	var conditions []condition
	var words []string
	var all []*rule
	for _, statement := range expr {
		for name, raw := range nftStatement(statement) {
			switch name {
			case "match":
				c, text := nftMatch(raw)
				conditions, words = append(conditions, c), append(words, text)
			case "vmap":
				for _, e := range nftElements(raw) {
					r := &rule{verdict: e.verdict, target: e.target, conditions: append(conditions[:len(conditions):len(conditions)], e.condition)}
					r.text = strings.Join(append(words[:len(words):len(words)], e.text), " ")
					all = append(all, r)
				}
			case "xt", "limit", "quota", "connlimit", "socket":
				// "xt" is a match or target of iptables: what it asks is not shown.
				conditions, words = append(conditions, always(perhaps)), append(words, name)
			default:
				if v, target, ok := nftVerdict(name, raw); ok {
					r := &rule{verdict: v, target: target, conditions: conditions[:len(conditions):len(conditions)]}
					r.text = strings.TrimSpace(strings.Join(words, " ") + " " + strings.TrimSpace(name+" "+target))
					all = append(all, r)
				}
			}
		}
	}
	return all
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
	case "drop", "reject":
		return drop, "", true
	case "return":
		return back, "", true
	case "notrack":
		return untrack, "", true
	case "dnat", "redirect", "tproxy":
		return divert, "", true
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
