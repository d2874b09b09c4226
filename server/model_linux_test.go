package server_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"knockkit/internal/kernel/backend"
	"knockkit/internal/lab"
	"knockkit/protocol"
	"knockkit/server"
)

// The kernel is held against the reference machine on random streams: batches of
// random profiles, each with sources of its own that send a stream each.
const (
	streams       = 40 // a batch; below the 100 addresses that a table of xt_recent holds
	eventsAStream = 24
)

// batches is how many a backend gets: more than 300 streams on each flavour of
// iptables, 1,000 on nftables.
func batches(backendName string) int {
	if backendName == "nftables" {
		return 25
	}
	return 8
}

func TestTheKernelDoesWhatTheReferenceMachineDoes(t *testing.T) {
	eachBackend(t, func(t *testing.T, name string) {
		granted := 0
		for batch := range batches(name) {
			t.Run(fmt.Sprintf("batch %d", batch), func(t *testing.T) {
				granted += runBatch(t, name, uint64(batch))
			})
		}
		if granted < batches(name)*streams/4 {
			t.Errorf("%d leases in all: too few to prove anything", granted)
		}
	})
}

func runBatch(t *testing.T, name string, seed uint64) (leases int) {
	rnd := rand.New(rand.NewPCG(seed, 7))
	settings := strict()
	settings.Policy.Strict = seed%4 != 3
	if seed%4 == 2 {
		settings.Policy.Ban = &protocol.Ban{After: 3, For: time.Minute}
	}
	within := []time.Duration{0, time.Minute, time.Second}[seed%3]
	profiles := randomProfiles(rnd, within)
	if seed%5 == 4 {
		for _, p := range profiles {
			p.Place = protocol.PlacePrerouting
		}
	}
	s := newSite(t, name, settings)
	s.install(profiles...)
	m := newModel(t, s, profiles, settings)
	alphabet := []protocol.Knock{ping, tcp(7), tcp(8000), udp(53), tcp(22), udp(9), tcp(3306), tcp(999)}
	for round := range eventsAStream {
		for _, src := range m.sources {
			m.send(src, alphabet[rnd.IntN(len(alphabet))])
		}
		if round%6 == 5 {
			m.compare()
		}
		if within == time.Second && round == eventsAStream/2 {
			time.Sleep(2200 * time.Millisecond) // real time has to pass: every position expires
			m.compare()
		}
	}
	return m.compare()
}

// randomProfiles draws up to four over the first letters of the alphabet.
func randomProfiles(rnd *rand.Rand, within time.Duration) []*protocol.Profile {
	letters := []protocol.Knock{ping, tcp(7), tcp(8000), udp(53)}
	var profiles []*protocol.Profile
	for i := range 1 + rnd.IntN(4) {
		p := &protocol.Profile{Name: fmt.Sprintf("p%d", i), Enabled: true, Lease: time.Hour, PrefixIPv4: 32, PrefixIPv6: 128,
			Open: []protocol.PortRange{{Proto: protocol.TCP, First: 3306, Last: 3306 + uint16(i)}}}
		if i == 1 {
			back := tcp(999)
			p.Close = &back
		}
		for n := 1 + rnd.IntN(4); len(p.Sequence) < n; {
			k := letters[rnd.IntN(len(letters))]
			if len(p.Sequence) == 0 {
				p.Sequence = append(p.Sequence, protocol.Step{Knock: k})
			} else if p.Sequence[len(p.Sequence)-1].Knock != k {
				p.Sequence = append(p.Sequence, protocol.Step{Knock: k, Within: within})
			}
		}
		profiles = append(profiles, p)
	}
	return profiles
}

// model is a site and the reference machines of both families side by side.
type model struct {
	t        *testing.T
	site     *site
	machines map[protocol.Family]*protocol.Machine
	automata map[protocol.Family]*protocol.Automaton
	profiles []*protocol.Profile
	sources  []netip.Addr
	history  map[netip.Addr][]protocol.Knock
}

func newModel(t *testing.T, s *site, profiles []*protocol.Profile, settings server.Settings) *model {
	m := &model{t: t, site: s, profiles: profiles, history: map[netip.Addr][]protocol.Knock{},
		machines: map[protocol.Family]*protocol.Machine{}, automata: map[protocol.Family]*protocol.Automaton{}}
	for _, f := range protocol.Families() {
		a, err := protocol.Compile(profiles, f)
		if err != nil {
			t.Fatal(err)
		}
		m.automata[f], m.machines[f] = a, protocol.NewMachine(a, settings.Policy)
	}
	for i := range streams / 2 {
		m.sources = append(m.sources, lab.ForgedAddr4(i), lab.ForgedAddr6(i))
	}
	return m
}

func (m *model) send(src netip.Addr, k protocol.Knock) {
	m.t.Helper()
	m.site.send(src, k)
	m.history[src] = append(m.history[src], k)
	e := protocol.Event{Time: time.Now(), Source: src, Dest: m.site.dest(src), Knock: k}
	m.machines[protocol.FamilyOf(src)].Step(e)
}

// compare fails for every source that the kernel and the machine see differently,
// and returns how many leases there are.
func (m *model) compare() (leases int) {
	m.t.Helper()
	want := map[string]bool{}
	now := time.Now()
	for _, src := range m.sources {
		machine, a := m.machines[protocol.FamilyOf(src)], m.automata[protocol.FamilyOf(src)]
		for _, p := range m.profiles {
			if machine.HasLease(p, src, now) {
				want[fmt.Sprintf("%s open %s", src, p.Name)] = true
				leases++
			}
		}
		if at, _ := machine.Position(src, now); at != protocol.Root {
			for _, u := range a.States[at].Users {
				if u.Step < len(u.Profile.Sequence) {
					want[fmt.Sprintf("%s knocking %s %d", src, u.Profile.Name, u.Step)] = true
				}
			}
		}
		if machine.IsBanned(src, now) {
			want[fmt.Sprintf("%s banned", src)] = true
		}
	}
	got := map[string]bool{}
	for _, x := range m.site.sources() {
		key := fmt.Sprintf("%s %s", x.Address.Addr(), x.State)
		switch x.State {
		case backend.Open:
			key += " " + x.Profile
		case backend.Knocking:
			key += fmt.Sprintf(" %s %d", x.Profile, x.Step)
		}
		got[key] = true
	}
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if !got[key] {
			m.t.Errorf("the machine says %q, the kernel does not; events %v", key, m.history[addrOf(key)])
		}
	}
	for _, key := range slices.Sorted(maps.Keys(got)) {
		if !want[key] {
			m.t.Errorf("the kernel says %q, the machine does not; events %v", key, m.history[addrOf(key)])
		}
	}
	return leases
}

func addrOf(key string) netip.Addr {
	var text string
	fmt.Sscan(key, &text)
	return netip.MustParseAddr(text)
}
