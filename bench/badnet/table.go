package badnet

import (
	"fmt"
	"strings"
	"time"

	"knockkit/protocol"
)

// Table writes rows as a Markdown table. Ideal is the gaps and one round trip:
// what a clean network of this delay takes.
func Table(rows []Row, p *protocol.Profile) string {
	var b strings.Builder
	b.WriteString("| network, each way | opened | in attempt 1, 2, 3 | ideal | median | 95% | slowest |\n")
	b.WriteString("|---|---|---|---|---|---|---|\n")
	for _, r := range rows {
		name := r.Name
		if r.Quiet {
			name += ", silent server"
		}
		fmt.Fprintf(&b, "| %s | %d of %d | %d, %d, %d | %s | %s | %s | %s |\n", name, r.Open(), len(r.Rounds),
			r.InAttempts(1), r.InAttempts(2), r.InAttempts(3),
			inMS(r.Ideal(p)), inMS(r.Quantile(0.5)), inMS(r.Quantile(0.95)), inMS(r.Quantile(1)))
	}
	return b.String()
}

func inMS(d time.Duration) string {
	return fmt.Sprintf("%d ms", d.Round(time.Millisecond)/time.Millisecond)
}
