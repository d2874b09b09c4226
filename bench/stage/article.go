//go:build linux

package stage

import (
	"fmt"
	"strconv"
	"strings"

	"knockkit/protocol"
)

// articleRules are the rules of the article as they stand there, once for each
// profile: three knocks and a port, a chain and a recency table for each state, and
// its `--remove` line, which every packet passes. The article's first knock is a
// ping; here it is a SYN like the others. What is right is accepted, as there.
func articleRules(profiles []*protocol.Profile) string {
	var b strings.Builder
	b.WriteString("*filter\n:INPUT DROP [0:0]\n")
	for _, p := range profiles {
		fmt.Fprintf(&b, ":ADD_ECHO_%s - [0:0]\n:ADD_BACKEND_%s - [0:0]\n", p.Name, p.Name)
	}
	for _, p := range profiles {
		fill := strings.NewReplacer(
			"PROFILE", p.Name,
			"FIRST", portText(p.Sequence[0].Knock.Port),
			"SECOND", portText(p.Sequence[1].Knock.Port),
			"THIRD", portText(p.Sequence[2].Knock.Port),
			"OPENED", portText(p.Open[0].First))
		b.WriteString(fill.Replace(`-A INPUT -p tcp --dport FIRST -m recent --name seenping_PROFILE --set -j ACCEPT
-A INPUT -p tcp --dport SECOND -m recent --name seenping_PROFILE --rcheck -j ADD_ECHO_PROFILE
-A ADD_ECHO_PROFILE -m recent --name seenecho_PROFILE --set -j ACCEPT
-A INPUT -p tcp --dport THIRD -m recent --name seenecho_PROFILE --rcheck --seconds 10 -j ADD_BACKEND_PROFILE
-A INPUT -m recent --name seenecho_PROFILE --remove
-A ADD_BACKEND_PROFILE -m recent --name seenbackend_PROFILE --set -j ACCEPT
-A INPUT -p tcp --dport OPENED -m recent --name seenbackend_PROFILE --rcheck -j ACCEPT
`))
	}
	b.WriteString("COMMIT\n")
	return b.String()
}

func portText(port uint16) string { return strconv.Itoa(int(port)) }
