package iptables

import "testing"

func TestATickRateIsBelievedWhenItWasMeasuredThreeTimesInARow(t *testing.T) {
	var r rates
	for i, step := range []struct{ measured, sure int }{{250, 0}, {250, 0}, {300, 0}, {250, 0}, {250, 0}, {250, 250}} {
		r.add(step.measured)
		if is := r.sure(); is != step.sure {
			t.Errorf("after %d: %d, not %d", i, is, step.sure)
		}
	}
}
