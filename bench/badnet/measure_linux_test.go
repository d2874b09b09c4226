package badnet_test

import (
	"context"
	"os"
	"strconv"
	"testing"
	"time"

	"knockkit/bench/badnet"
	"knockkit/internal/lab/labtest"
)

func TestMain(m *testing.M) {
	if code, isChild := badnet.Child(context.Background()); isChild {
		os.Exit(code)
	}
	labtest.Main(m)
}

// TestKnocksOpenOverBadNetworks has few rounds and generous bounds: it is to
// find what is broken, not to measure. With KNOCK_BADNET_ROUNDS it measures.
func TestKnocksOpenOverBadNetworks(t *testing.T) {
	labtest.NeedRoot(t)
	labtest.NeedTUN(t)
	labtest.Need(t, "iptables-restore")
	rounds, _ := strconv.Atoi(os.Getenv("KNOCK_BADNET_ROUNDS"))
	if rounds == 0 {
		rounds = 8
	}
	for i, c := range badnet.Cases() {
		t.Run(strconv.Itoa(i)+" "+c.Name, func(t *testing.T) {
			t.Parallel()
			row, err := badnet.Measure(t.Context(), c, rounds)
			if err != nil {
				t.Fatal(err)
			}
			p, err := badnet.Profile()
			if err != nil {
				t.Fatal(err)
			}
			ideal := row.Ideal(p)
			t.Log("\n" + badnet.Table([]badnet.Row{row}, p))
			// A round at 20% loss opens with at least 0.95: more than 4 of 8 do not in less
			// than one of 50,000 runs.
			if row.InAttempt(0) < rounds/2 {
				t.Errorf("%d of %d rounds opened", row.InAttempt(0), rounds)
			}
			clean := c.Conditions.Loss == 0 && c.Conditions.Jitter == 0
			if median := row.Quantile(0.5); clean && median > 2*ideal+200*time.Millisecond {
				t.Errorf("median %v, ideal is %v", median, ideal)
			}
		})
	}
}
