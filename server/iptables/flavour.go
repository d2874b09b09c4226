package iptables

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
)

// Flavour returns which iptables the host's commands are: "nf_tables" or "legacy".
func Flavour(ctx context.Context) (string, error) {
	out, err := host("iptables-save", nil).Run(ctx, "", "--version")
	if err != nil {
		return "", err
	}
	if _, after, ok := strings.Cut(out, "("); ok {
		flavour, _, _ := strings.Cut(after, ")")
		return flavour, nil
	}
	return "legacy", nil // before 1.8 there was no other
}

// refuseMix fails when the other flavour of iptables has rules of ours: both
// would work on the same recency tables, each with its own half of the truth.
func refuseMix(ctx context.Context) error {
	flavour, err := Flavour(ctx)
	if err != nil {
		return err
	}
	other := map[string]string{"nf_tables": "legacy", "legacy": "nft"}[flavour]
	for _, name := range []string{"iptables-" + other + "-save", "ip6tables-" + other + "-save"} {
		if _, err := exec.LookPath(name); err != nil {
			continue
		}
		out, err := host(name, nil).Run(ctx, "")
		if err == nil && strings.Contains(out, "\n:"+chainTop+" ") {
			return fmt.Errorf("iptables-%s holds rules of knockd already, and the iptables command is now %s: "+
				"remove them with the other one first (iptables-%s-restore; see update-alternatives --display iptables)", other, flavour, other)
		}
	}
	return nil
}
