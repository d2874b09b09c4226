package main

import (
	"net/netip"
	"slices"
	"time"

	"knockkit/protocol"
)

// lessons returns walks that show what opens a profile, and what does not: its own sequence, and
// wrong ones like it; of a signed profile a token, and its carrier without one. None for a profile
// that nobody can open.
func (h *host) lessons(a *protocol.Automaton, p *protocol.Profile, source netip.Addr) []walk {
	n := len(p.Sequence)
	if !p.OpensIn(a.Family) {
		return nil
	}
	var right []string
	for _, s := range p.Sequence {
		right = append(right, s.Knock.String())
	}
	packet := protocol.Event{Source: source}
	if from := protocol.PrefixesIn(p.From, a.Family); len(from) > 0 && !h.c.IsSet("from") {
		packet.Source = from[0].Addr()
	}
	var all []walk
	add := func(title string, events ...string) {
		w := walk{title: p.Name + ": " + title, events: events, packet: packet}
		w.comeIn(a.Family, p)
		all = append(all, w)
	}
	if p.Signed != nil {
		port := protocol.Knock{Proto: p.Open[0].Proto, Port: p.Open[0].First}.String()
		add("a token of a user, and the same packet again", tokenPrefix+p.Name, again, port)
		add("its carrier without a token", p.Signed.Carrier.String(), port)
		return all
	}
	add("its sequence", right...)
	if n == 1 {
		return all // nothing can come in between, be left out or be late
	}
	add("another port in between", slices.Insert(slices.Clone(right), n-1, strangePort(a).String())...)
	add("a knock left out", slices.Delete(slices.Clone(right), n-2, n-1)...)
	if last := p.Sequence[n-1]; last.Within > 0 {
		add("the last knock too late", slices.Insert(slices.Clone(right), n-1, "+"+protocol.FormatDuration(last.Within+time.Second))...)
	}
	return all
}

// strangePort returns a knock that is in no sequence, nor opened by a profile: 443/tcp, or near it.
func strangePort(a *protocol.Automaton) protocol.Knock {
	k := protocol.Knock{Proto: protocol.TCP, Port: 443}
	known := func(p *protocol.Profile) bool {
		return slices.Contains(p.Knocks(), k) || p.Opens(k) || p.Close != nil && *p.Close == k
	}
	for k.Port != 442 && slices.ContainsFunc(a.Profiles, known) {
		k.Port = max(1, k.Port+1)
	}
	return k
}
