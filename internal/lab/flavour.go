//go:build linux

package lab

import (
	"fmt"
	"os"
	"path/filepath"
)

// Flavour is one implementation of iptables on this machine.
type Flavour struct {
	Name string // "iptables-nft" or "iptables-legacy"

	multi string // the one program behind all its commands
}

// Flavours lists what is installed of iptables-nft and iptables-legacy, in this
// order.
func Flavours() []Flavour {
	var found []Flavour
	for _, f := range []Flavour{{"iptables-nft", "xtables-nft-multi"}, {"iptables-legacy", "xtables-legacy-multi"}} {
		if path, err := FindTool(f.multi); err == nil {
			found = append(found, Flavour{f.Name, path})
		}
	}
	return found
}

// LinkInto fills a folder with iptables, ip6tables and their -restore and -save of
// this flavour, to be put first on PATH. The program decides by its name which of
// them it is.
func (f Flavour) LinkInto(dir string) error {
	for _, command := range []string{"iptables", "ip6tables"} {
		for _, suffix := range []string{"", "-restore", "-save"} {
			if err := os.Symlink(f.multi, filepath.Join(dir, command+suffix)); err != nil {
				return fmt.Errorf("link %s: %w", f.Name, err)
			}
		}
	}
	return nil
}
