package nftables

import (
	"context"
	"encoding/json"
	"fmt"
)

// Notes says which chains of others drop by default what passes our gates: an
// accept in our table is not the last word.
func (b *Backend) Notes(ctx context.Context) ([]string, error) {
	text, err := b.run(ctx, "", "-j", "list", "chains")
	if err != nil {
		return nil, err
	}
	var doc struct {
		Nftables []struct {
			Chain *struct {
				Family, Table, Name, Hook, Policy string
			} `json:"chain"`
		} `json:"nftables"`
	}
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		return nil, fmt.Errorf("nft -j: %w", err)
	}
	var found []string
	for _, o := range doc.Nftables {
		if c := o.Chain; c != nil && c.Hook == "input" && c.Policy == "drop" && c.Table != TableName {
			found = append(found, fmt.Sprintf("chain %s of table %s %s drops by default, also what a lease lets in: it must itself accept the gated ports, for example by a rule `tcp dport PORT accept`",
				c.Name, c.Family, c.Table))
		}
	}
	return found, nil
}
