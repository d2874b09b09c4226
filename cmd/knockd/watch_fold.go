package main

import (
	"fmt"
	"slices"
	"time"

	"knockkit/server/events"
)

// How refused connections of one source to one port become one line.
const (
	foldWithin = 10 * time.Second       // from one to the next
	foldFirst  = 500 * time.Millisecond // that a plain line waits for more of them
	foldAgain  = 5 * time.Second        // that further ones wait, when a line has been printed
)

// folded is an item, and how often it came.
type folded struct {
	events.Item
	times int // 0: printed, and not again since
	last  time.Time
	due   time.Time // when a plain line is printed
}

// String is the item as a line, and how often it came.
func (f *folded) String() string {
	text := f.Item.String()
	if f.times > 1 {
		text += fmt.Sprintf(" ×%d", f.times)
	}
	return text
}

// takes counts one more refused connection, where the item is one like this: of the same source, to
// the same port and for the same reason, which are its words, and soon.
func (f *folded) takes(i events.Item) bool {
	n, was := i.Notice, f.Notice
	if i.Lost > 0 || f.Lost > 0 || n.Kind != events.Denied || was.Kind != n.Kind || was.Profile != n.Profile || was.Address != n.Address ||
		was.Detail != n.Detail || n.Time.Sub(f.last) > foldWithin {
		return false
	}
	if f.times == 0 {
		f.Item = i
	}
	f.times++
	f.last = n.Time
	return true
}

// foldInto adds an item to those that are on a screen, newest last. What else has happened to the source since ends
// a line that counts.
func foldInto(all []folded, i events.Item) []folded {
	for n := len(all) - 1; n >= 0 && i.Lost == 0; n-- {
		if all[n].Lost == 0 && all[n].Notice.Address == i.Notice.Address {
			if all[n].takes(i) {
				return all
			}
			break
		}
	}
	return append(all, folded{Item: i, times: 1, last: i.Notice.Time})
}

// plainFold decides when lines are printed: those about refused connections wait a moment, so that
// there is one for many. Lines of one source keep their order.
type plainFold struct{ waiting []folded }

// add takes an item, and returns the lines to print now.
func (p *plainFold) add(now time.Time, i events.Item) (lines []folded) {
	if i.Lost > 0 {
		return []folded{{Item: i}}
	}
	for n := range p.waiting {
		w := &p.waiting[n]
		if printed := w.times == 0; w.takes(i) {
			if printed {
				w.due = now.Add(foldAgain)
			}
			return nil
		}
	}
	p.waiting = slices.DeleteFunc(p.waiting, func(w folded) bool {
		same := w.Notice.Address == i.Notice.Address
		if same && w.times > 0 {
			lines = append(lines, w)
		}
		return same
	})
	line := folded{Item: i, times: 1, last: i.Notice.Time, due: now.Add(foldFirst)}
	if i.Notice.Kind != events.Denied {
		return append(lines, line)
	}
	p.waiting = append(p.waiting, line)
	return lines
}

// take returns the lines that are due.
func (p *plainFold) take(now time.Time) (lines []folded) {
	p.waiting = slices.DeleteFunc(p.waiting, func(w folded) bool { return w.times == 0 && !w.due.After(now) })
	for n := range p.waiting {
		if w := &p.waiting[n]; !w.due.After(now) {
			lines = append(lines, *w)
			w.times, w.due = 0, now.Add(foldWithin)
		}
	}
	return lines
}

// next returns when a line is due, and whether there is one.
func (p *plainFold) next() (at time.Time, any bool) {
	for _, w := range p.waiting {
		if !any || w.due.Before(at) {
			at, any = w.due, true
		}
	}
	return at, any
}
