package lab

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// Conditions are what one direction of a [Link] does to packets. The zero value
// does nothing to them.
type Conditions struct {
	Delay  time.Duration // each way: a round trip takes twice this
	Jitter time.Duration // the delay varies evenly by up to this much, both ways

	// Shares of the packets, 0 to 1.
	Loss      float64 // gone
	Duplicate float64 // delivered twice in a row
	Reorder   float64 // not delayed at all, and so ahead of those under way (as in netem)

	// Seed decides which packets are hit: the same seed and the same number of
	// packets before, the same fate. The two directions of a link differ.
	Seed uint64
}

func (c Conditions) check() error {
	for _, p := range []float64{c.Loss, c.Duplicate, c.Reorder} {
		if !(p >= 0 && p <= 1) {
			return fmt.Errorf("conditions: share %v is not between 0 and 1", p)
		}
	}
	if c.Delay < 0 || c.Jitter < 0 {
		return fmt.Errorf("conditions: negative delay %v or jitter %v", c.Delay, c.Jitter)
	}
	return nil
}

// course applies conditions to the packets of one direction, one after the other.
type course struct {
	conditions Conditions
	random     *rand.Rand
	last       time.Time // when the latest packet that keeps its place arrives
}

// set changes the conditions from the next packet on. direction makes the two ways
// of a link differ under one seed.
func (c *course) set(conditions Conditions, direction uint64) {
	c.conditions = conditions
	c.random = rand.New(rand.NewPCG(conditions.Seed, direction))
}

// next says when the copies of a packet sent now arrive: none, one or two times.
// Packets keep their order unless reordering was asked for.
func (c *course) next(now time.Time) []time.Time {
	// Four draws for every packet, whatever comes of them: so a packet's fate does
	// not depend on that of those before it.
	lost, doubled := c.random.Float64(), c.random.Float64()
	early, shift := c.random.Float64(), c.random.Float64()
	if lost < c.conditions.Loss {
		return nil
	}
	at := now
	if !(early < c.conditions.Reorder) {
		delay := c.conditions.Delay + time.Duration((2*shift-1)*float64(c.conditions.Jitter))
		at = now.Add(max(0, delay))
		if at.Before(c.last) {
			at = c.last
		}
		c.last = at
	}
	if doubled < c.conditions.Duplicate {
		return []time.Time{at, at}
	}
	return []time.Time{at}
}
