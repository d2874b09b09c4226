package iptables

import (
	"context"
	"fmt"
	"os"

	"knockkit/protocol"
)

// chainTry holds a rule that [Try] commits. Nothing jumps to it.
const chainTry = "KNOCKD-TRY"

// Try reports whether the kernel takes a rule with `-m recent`: one is committed and taken
// away again, in two transactions of one text. Of a kernel that has no table `filter` yet,
// iptables-nft leaves an empty one.
// Errors: those of the context, [backend.ErrPrivilege], why there can be no such rule.
func Try(ctx context.Context, hold ...*os.File) error {
	LoadModule(ctx)
	rule := table{protocol.IPv4, chainTry, protocol.IPv4.Bits()}.check()
	text := fmt.Sprintf("*filter\n:%[1]s - [0:0]\n-A %[1]s %[2]s\nCOMMIT\n*filter\n-F %[1]s\n-X %[1]s\nCOMMIT\n", chainTry, rule)
	return restore(ctx, protocol.IPv4, text, hold)
}
