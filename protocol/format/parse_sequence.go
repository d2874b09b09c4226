package format

import (
	"fmt"
	"time"

	"knockkit/internal/tomldoc"
	"knockkit/protocol"
)

// sequence reads the steps. within is the profile's time between two knocks.
func (a *parser) sequence() {
	within := a.time(a.raw.Within, protocol.DefaultWithin, protocol.MaxWithin)
	switch {
	case a.raw.has("sequence") && a.raw.has("signed"):
		at := tomldoc.Span{}
		if a.raw.Sequence != nil {
			at = a.raw.Sequence.Key
		}
		a.doc.Error(at, "a profile has a `sequence` or is `signed`, not both", "a signed knock replaces the sequence: remove one of the two")
	case !a.raw.has("sequence") && !a.raw.has("signed"):
		a.doc.Error(tomldoc.Span{}, "the profile has no `sequence`", `"knockd profile new" chooses one at random`)
	}
	if a.raw.Sequence == nil {
		return
	}
	items := a.raw.Sequence.Value
	if len(items) == 0 {
		a.doc.Error(a.raw.Sequence.At, "the sequence is empty", `"knockd profile new" chooses one at random`)
	}
	if len(items) > protocol.MaxSequence {
		a.doc.Error(a.raw.Sequence.At, fmt.Sprintf("the sequence has %d knocks; at most %d are possible", len(items), protocol.MaxSequence), "")
		items = items[:protocol.MaxSequence]
	}
	for i, item := range items {
		a.addStep(item, i == 0, within)
	}
}

func (a *parser) addStep(item tomldoc.Item, first bool, within time.Duration) {
	text, wait := item.Text, tomldoc.Span{}
	if a.raw.Within != nil {
		wait = a.raw.Within.At
	}
	if t := item.Table; t != nil {
		text = t.Port("knock")
		own := t.Time("within", "s")
		t.Unknown(func(string) string { return "" })
		switch {
		case own != nil && first:
			a.doc.Error(own.Key, "the first knock takes no `within`", "it is the longest time since the knock before, and there is none: remove it")
		case own != nil:
			within, wait = a.time(own, within, protocol.MaxWithin), own.At
		}
		if text == nil {
			if !t.Has("knock") {
				a.doc.Error(t.At(), "the item has no `knock`", `write { knock = "8000/tcp", within = "5s" }`)
			}
			return
		}
	}
	k, err := ParseKnock(text.Value)
	if err != nil {
		a.text(*text, err)
		return
	}
	if n := len(a.p.Sequence); n > 0 && a.p.Sequence[n-1].Knock == k {
		a.doc.Error(text.At, fmt.Sprintf("%s comes twice in a row", k), "a repeated packet cannot be told from a second knock: put another knock between them")
	}
	if first {
		within = 0
	}
	a.p.Sequence = append(a.p.Sequence, protocol.Step{Knock: k, Within: within})
	a.step, a.wait = append(a.step, text.At), append(a.wait, wait)
}

// signed reads the carrier of a one-time token.
func (a *parser) signed() {
	raw := a.raw.Signed
	if raw == nil {
		return
	}
	if !raw.Table.Has("carrier") {
		a.doc.Error(raw.Table.At(), "`signed` does not say what carries the token", `write signed = { carrier = "icmp" }, or a port as "40123/udp"`)
	}
	if raw.Carrier == nil {
		return
	}
	k, err := ParseKnock(raw.Carrier.Value)
	switch {
	case err != nil:
		a.text(*raw.Carrier, err)
	case k.Proto == protocol.TCP:
		a.doc.Error(raw.Carrier.At, "a token cannot travel in a SYN of tcp", fmt.Sprintf(`write "icmp" or "%d/udp"`, k.Port))
	default:
		a.p.Signed = &protocol.Signed{Carrier: k}
	}
}

// time reads a time of whole seconds that is at most most.
func (a *parser) time(f *tomldoc.Field[string], unset, most time.Duration) time.Duration {
	if f == nil {
		return unset
	}
	d, err := ParseDuration(f.Value)
	switch {
	case err != nil:
		a.text(*f, err)
	case d%time.Second != 0:
		a.doc.Error(f.At, "the kernel counts whole seconds here", didYouMean(protocol.FormatDuration(d.Truncate(time.Second)+time.Second)))
	case d > most:
		a.doc.Error(f.At, fmt.Sprintf("this is longer than %s, the most that is possible", days(most)), `"0" means no limit`)
	}
	return d
}

// days writes a limit in the unit in which people know it.
func days(d time.Duration) string {
	if d > day && d%day == 0 {
		return fmt.Sprintf("%d days", d/day)
	}
	return protocol.FormatDuration(d)
}
