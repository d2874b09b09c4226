package badnet

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"knockkit/internal/lab"
	"knockkit/protocol"
)

// Case is one network.
type Case struct {
	Name       string
	Conditions lab.Conditions // of each direction
	Quiet      bool           // the server answers nothing but what was let in
}

// Cases are the networks of the documentation.
func Cases() []Case {
	const ms = time.Millisecond
	lossy := lab.Conditions{Delay: 20 * ms, Jitter: 2 * ms, Loss: 0.05, Reorder: 0.01, Seed: 1}
	worse := lab.Conditions{Delay: 20 * ms, Jitter: 2 * ms, Loss: 0.20, Reorder: 0.01, Seed: 1}
	return []Case{
		{Name: "20 ms delay", Conditions: lab.Conditions{Delay: 20 * ms}},
		{Name: "80 ms delay", Conditions: lab.Conditions{Delay: 80 * ms}},
		{Name: "200 ms delay", Conditions: lab.Conditions{Delay: 200 * ms}},
		{Name: "20 ms, 2 ms jitter, 1% reordered, 5% lost", Conditions: lossy},
		{Name: "20 ms, 2 ms jitter, 1% reordered, 5% lost", Conditions: lossy, Quiet: true},
		{Name: "20 ms, 2 ms jitter, 1% reordered, 20% lost", Conditions: worse},
		{Name: "20 ms, 2 ms jitter, 1% reordered, 20% lost", Conditions: worse, Quiet: true},
		{Name: "40 ms, 20 ms jitter, 5% doubled", Conditions: lab.Conditions{Delay: 40 * ms, Jitter: 20 * ms, Duplicate: 0.05, Seed: 1}},
	}
}

// Round is one knock.
type Round struct {
	Open     bool
	Attempts int
	Took     time.Duration // until it was known
}

// Row is what the rounds of a case came to.
type Row struct {
	Case
	Rounds []Round
}

// InAttempt returns how many rounds opened in the nth attempt, from 1; 0: in any.
func (r Row) InAttempt(n int) (count int) {
	for _, x := range r.Rounds {
		if x.Open && (n == 0 || x.Attempts == n) {
			count++
		}
	}
	return count
}

// Quantile returns the time within which the given share (0 to 1) of the rounds
// that opened did; 0 when none did.
func (r Row) Quantile(share float64) time.Duration {
	var times []time.Duration
	for _, x := range r.Rounds {
		if x.Open {
			times = append(times, x.Took)
		}
	}
	if len(times) == 0 {
		return 0
	}
	slices.Sort(times)
	return times[min(len(times)-1, int(share*float64(len(times))))]
}

// Ideal is the shortest time that a clean network of this delay allows: the
// gaps of the sequence and one round trip.
func (r Row) Ideal(p *protocol.Profile) time.Duration {
	return 2*r.Conditions.Delay + time.Duration(len(p.Sequence))*p.Client.Gap
}

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
		fmt.Fprintf(&b, "| %s | %d of %d | %d, %d, %d | %s | %s | %s | %s |\n", name, r.InAttempt(0), len(r.Rounds),
			r.InAttempt(1), r.InAttempt(2), r.InAttempt(3),
			inMS(r.Ideal(p)), inMS(r.Quantile(0.5)), inMS(r.Quantile(0.95)), inMS(r.Quantile(1)))
	}
	return b.String()
}

func inMS(d time.Duration) string {
	return fmt.Sprintf("%d ms", d.Round(time.Millisecond)/time.Millisecond)
}
