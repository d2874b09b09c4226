//go:build linux

package stage_test

import (
	"testing"
	"time"

	"knockkit/bench/stage"
	"knockkit/protocol"
)

func TestTheProfilesShareNoPortAndAreTheSameEveryTime(t *testing.T) {
	const n = 1001
	profiles, err := stage.Profiles(n, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	again, err := stage.Profiles(n, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	used := map[uint16]string{stage.Unused: "nobody"}
	use := func(port uint16, name string) {
		if other, taken := used[port]; taken {
			t.Errorf("port %d is %s's and %s's", port, other, name)
		}
		used[port] = name
	}
	for i, p := range profiles {
		for j, step := range p.Sequence {
			use(step.Knock.Port, p.Name)
			if step != again[i].Sequence[j] {
				t.Errorf("%s: step %d is %v, then %v", p.Name, j, step, again[i].Sequence[j])
			}
		}
		use(p.Open[0].First, p.Name)
	}
	if want := 1 + n*4; len(used) != want { // three knocks and an opened port each, and Unused
		t.Errorf("%d ports, want %d", len(used), want)
	}
	if problems := protocol.CheckTogether(profiles); len(problems) > 0 {
		t.Errorf("they cannot be installed together: %v", problems[0])
	}
}
