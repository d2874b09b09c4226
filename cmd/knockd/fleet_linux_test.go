package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
	"knockkit/protocol"
	"knockkit/protocol/format"
	"knockkit/server"
	"knockkit/server/keys"
	"knockkit/server/secret"
)

// nodes are servers of one fleet on one network, each with a wire of its own. The test's sources knock on
// any of them.
type nodes struct {
	t   *testing.T
	all []*member
}

// member is one of them.
type member struct {
	*served
	run *running
}

// kind is what a node runs.
type kind struct {
	backend string
	flavour lab.Flavour // of iptables
}

// eachKind is a node with nftables, and one with each flavour of iptables.
func eachKind() []kind {
	all := []kind{{backend: "nftables", flavour: lab.Flavours()[0]}}
	for _, f := range lab.Flavours() {
		all = append(all, kind{"iptables", f})
	}
	return all
}

// newNodes makes nodes, and starts none.
func newNodes(t *testing.T, kinds ...kind) *nodes {
	t.Helper()
	labtest.NeedRoot(t)
	labtest.NeedTUN(t)
	labtest.Need(t, "iptables-nft-restore", "iptables-legacy-restore", "nft")
	program(t)
	f := &nodes{t: t}
	var sites []*site
	var hosts []*lab.Host
	for _, k := range kinds {
		s := newSite(t)
		s.env = []string{"PATH=" + labtest.PathOf(t, k.flavour) + ":" + os.Getenv("PATH")}
		sites, hosts = append(sites, s), append(hosts, s.host)
	}
	labtest.Network(t, hosts...)
	var addresses []string
	for _, h := range hosts {
		addresses = append(addresses, fmt.Sprintf("%q", netip.AddrPortFrom(h.Addr4, 7115)))
	}
	key := filepath.Join(t.TempDir(), "fleet.key")
	if err := secret.Create(key); err != nil {
		t.Fatal(err)
	}
	for i, s := range sites {
		m := &member{served: serve(t, s, kinds[i].backend)}
		s.settings(fmt.Sprintf("backend = %q\n[fleet]\nname = \"web\"\nsecret = %q\nlisten = %s\nnodes = [%s]\nstore = %q\n",
			m.backend, key, addresses[i], strings.Join(addresses, ", "), t.TempDir()))
		f.all = append(f.all, m)
	}
	return f
}

// start starts the service of a node.
func (m *member) begin() {
	m.t.Helper()
	m.run = m.served.run()
}

// together waits until each node has all that was said.
func (f *nodes) together(which ...*member) {
	f.t.Helper()
	for _, m := range which {
		m.run.logs("has all that was said")
	}
}

// kill ends a node's service as kill -9 does.
func (m *member) kill() {
	m.t.Helper()
	if err := m.run.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		m.t.Fatal(err)
	}
	_ = m.run.wait()
}

// open waits until a source can connect on each of the nodes.
func (f *nodes) open(source netip.Addr, on ...*member) {
	f.t.Helper()
	for _, m := range on {
		m.eventually(fmt.Sprintf("%s: 3306/tcp is open for %s", m.backend, source), soon, func() bool { return m.answers(source) })
	}
}

// shut waits until it can connect on none.
func (f *nodes) shut(source netip.Addr, on ...*member) {
	f.t.Helper()
	for _, m := range on {
		m.eventually(fmt.Sprintf("%s: 3306/tcp is shut for %s", m.backend, source), soon, func() bool {
			return !m.answers(source)
		})
	}
}

// cut takes a node off the network.
func (m *member) cut() { m.tool("", "ip", "link", "set", m.host.Interfaces[0].Name, "down") }

// mend brings it back.
func (m *member) mend() { m.tool("", "ip", "link", "set", m.host.Interfaces[0].Name, "up") }

// opened knocks on a node.
func (m *member) opened(source netip.Addr) {
	m.t.Helper()
	m.knock(source, "icmp", "7/tcp", "8000/tcp")
}

func (m *member) name() string { return fmt.Sprintf("%s %s", m.backend, m.host.Addr4) }

// left is how long the lease of a source lasts on a node, by `status`.
func (m *member) left(source netip.Addr) time.Duration {
	m.t.Helper()
	for _, s := range m.form().Sources {
		if s.State == "open" && strings.HasPrefix(s.Address, source.String()) && s.ExpiresIn != nil {
			return time.Duration(*s.ExpiresIn * float64(time.Second))
		}
	}
	return 0
}

func TestWhoKnocksOnOneNodeIsLetInByAll(t *testing.T) {
	t.Parallel()
	f := newNodes(t, eachKind()...)
	for _, m := range f.all {
		m.begin()
	}
	f.together(f.all...)
	for i, m := range f.all {
		for _, source := range []netip.Addr{lab.ForgedAddr4(i), lab.ForgedAddr6(i)} {
			began := time.Now()
			m.opened(source)
			for _, other := range f.all {
				f.open(source, other)
				t.Logf("%s → %s: %v", m.name(), other.name(), time.Since(began))
			}
			for _, other := range f.all {
				if left := other.left(source); left < time.Hour-5*time.Second || left > time.Hour+2*time.Second {
					t.Errorf("%s has %v left, knocked on %s", other.backend, left, m.backend)
				}
			}
			f.all[(i+1)%3].must("revoke", "mysql", source.String())
			f.shut(source, f.all...)
		}
	}
}

// TestWhatAnOperatorDoesOnOneNodeHoldsOnAll: a lease by hand, shorter and longer, for a prefix; and what ends leases.
func TestWhatAnOperatorDoesOnOneNodeHoldsOnAll(t *testing.T) {
	t.Parallel()
	f := newNodes(t, eachKind()...)
	for _, m := range f.all {
		m.begin()
	}
	f.together(f.all...)
	one, two, three := f.all[0], f.all[1], f.all[2]
	all := func(source netip.Addr, atLeast, atMost time.Duration) {
		t.Helper()
		f.open(source, f.all...)
		for _, m := range f.all {
			m.eventually(fmt.Sprintf("%s: %s has %v to %v left", m.name(), source, atLeast, atMost), soon, func() bool {
				left := m.left(source)
				return left >= atLeast && left <= atMost
			})
		}
	}
	a, b, c := lab.ForgedAddr4(1), lab.ForgedAddr4(2), lab.ForgedAddr6(1)
	two.must("grant", "mysql", a.String(), "--for", "2h")
	one.must("grant", "mysql", c.String(), "--for", "20m")
	all(a, 2*time.Hour-time.Minute, 2*time.Hour+2*time.Second)
	all(c, 19*time.Minute, 20*time.Minute+2*time.Second)
	three.must("grant", "mysql", a.String(), "--for", "10m") // the later word, and shorter
	all(a, 9*time.Minute, 10*time.Minute+2*time.Second)
	one.opened(a) // a knock beside it
	all(a, 59*time.Minute, time.Hour+2*time.Second)
	two.must("revoke", "mysql", "10.9.0.0/16") // those inside the prefix
	f.shut(a, f.all...)
	f.open(c, f.all...)
	three.must("grant", "mysql", "10.9.0.0/24")
	all(a, 0, 0)
	f.open(b, f.all...)
	if out := one.knockd("revoke", "mysql", a.String()); out.Code != 1 || !strings.Contains(out.Stderr, "10.9.0.0/24, which has a lease") {
		t.Errorf("revoke of what the prefix lets in: exit %d\n%s", out.Code, out.Stderr)
	}
	f.open(a, f.all...)
	two.must("revoke", "mysql", "--all")
	for _, source := range []netip.Addr{a, b, c} {
		f.shut(source, f.all...)
	}
}

// TestNoLeaseIsLostWhateverNodeEndsHowever: each of them is killed, its rules are flushed as by a reboot, and it starts again.
func TestNoLeaseIsLostWhateverNodeEndsHowever(t *testing.T) {
	t.Parallel()
	f := newNodes(t, eachKind()...)
	for _, m := range f.all {
		m.begin()
	}
	f.together(f.all...)
	source := func(i int) netip.Addr { return lab.ForgedAddr4(i) }
	for i, m := range f.all {
		others := []*member{f.all[(i+1)%3], f.all[(i+2)%3]}
		m.opened(source(3 * i))
		f.open(source(3*i), f.all...)
		m.kill()
		m.flush()
		others[0].opened(source(3*i + 1))
		f.open(source(3*i+1), others...)
		if i > 0 {
			others[1].must("revoke", "mysql", source(3*i-3).String()) // which the node has known
			f.shut(source(3*i-3), others...)
		}
		m.begin()
		f.together(m)
		f.open(source(3*i), m)
		f.open(source(3*i+1), m)
		if i > 0 {
			f.shut(source(3*i-3), m)
		}
	}
	for _, m := range f.all {
		m.kill()
		m.flush()
	}
	for _, m := range f.all {
		m.begin()
	}
	f.together(f.all...)
	for i := range 9 {
		if i == 2 || i == 5 || i == 8 { // nobody has knocked from there
			f.shut(source(i), f.all...)
			continue
		}
		if i == 0 || i == 3 {
			f.shut(source(i), f.all...)
			continue
		}
		f.open(source(i), f.all...)
	}
}

// flush takes all rules away, and the recency tables with them.
func (m *member) flush() {
	m.t.Helper()
	m.tool("", "nft", "flush", "ruleset")
	for _, tool := range []string{"iptables-legacy", "ip6tables-legacy"} {
		m.tool("", tool, "-F")
		m.tool("", tool, "-X")
	}
}

// TestBothSidesOfAPartitionWorkAloneAndAgreeWhenItIsOver by the later word.
func TestBothSidesOfAPartitionWorkAloneAndAgreeWhenItIsOver(t *testing.T) {
	t.Parallel()
	f := newNodes(t, eachKind()...)
	for _, m := range f.all {
		m.begin()
	}
	f.together(f.all...)
	a, b, c, d := lab.ForgedAddr4(1), lab.ForgedAddr4(2), lab.ForgedAddr4(3), lab.ForgedAddr4(4)
	alone, one, two := f.all[1], f.all[0], f.all[2]
	one.opened(a)
	one.opened(d)
	f.open(a, f.all...)
	f.open(d, f.all...)
	alone.cut()
	alone.opened(b)
	f.open(b, alone)
	one.opened(c)
	f.open(c, one, two)
	one.must("revoke", "mysql", a.String())
	f.shut(a, one, two)
	f.open(a, alone)
	alone.must("revoke", "mysql", d.String())
	f.shut(d, alone)
	f.open(d, one, two)
	f.shut(b, one, two)
	f.shut(c, alone)
	healed := time.Now()
	alone.mend()
	f.shut(a, f.all...)
	f.shut(d, f.all...)
	f.open(b, f.all...)
	f.open(c, f.all...)
	t.Logf("all agree after %v", time.Since(healed))
}

// TestWhatACommandDoesWithoutTheServiceIsToldWhenItStarts: the other nodes have it then, and not what they have ended since.
func TestWhatACommandDoesWithoutTheServiceIsToldWhenItStarts(t *testing.T) {
	t.Parallel()
	f := newNodes(t, eachKind()...)
	for _, m := range f.all {
		m.begin()
	}
	f.together(f.all...)
	one, two, others := f.all[0], f.all[1], f.all[1:]
	a, b, c := lab.ForgedAddr4(1), lab.ForgedAddr4(2), lab.ForgedAddr4(3)
	one.opened(a)
	f.open(a, f.all...)
	one.kill()
	const note = "no service runs here: the other nodes of the fleet are told when knockd run starts"
	for _, args := range [][]string{{"revoke", "mysql", a.String()}, {"grant", "mysql", b.String()}, {"grant", "mysql", c.String(), "--for", "30m"}} {
		if out := one.must(args...); !strings.Contains(out.Stderr, note) {
			t.Errorf("%s says %s", args, out.Stderr)
		}
	}
	f.open(a, others...)
	two.must("revoke", "mysql", c.String()) // the later word
	one.begin()
	f.shut(a, f.all...)
	f.open(b, f.all...)
	f.shut(c, f.all...)
}

// TestAfterAPartitionOfAnyKindTheLaterWordHoldsEverywhere: random knocks, grants and revocations on all nodes, for longer than
// it takes until nodes take each other for gone. With KNOCKD_SOAK=10m each partition lasts so long.
func TestAfterAPartitionOfAnyKindTheLaterWordHoldsEverywhere(t *testing.T) {
	t.Parallel()
	lasts := 12 * time.Second
	if text := os.Getenv("KNOCKD_SOAK"); text != "" {
		var err error
		if lasts, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	f := newNodes(t, eachKind()...)
	for _, m := range f.all {
		m.begin()
	}
	f.together(f.all...)
	random := rand.New(rand.NewPCG(16, 16))
	open := map[netip.Addr]bool{}
	for _, cut := range [][]*member{{f.all[1]}, {f.all[0]}, {f.all[0], f.all[2]}} {
		for _, m := range cut {
			m.cut()
		}
		acts := 0
		for until := time.Now().Add(lasts); time.Now().Before(until); acts++ {
			m, source := f.all[random.IntN(3)], lab.ForgedAddr4(random.IntN(8))
			switch random.IntN(10) {
			case 0:
				m.knockd("revoke", "mysql", "--all") // where nothing is open, it exits with 1
				clear(open)
			case 1, 2, 3:
				m.knockd("revoke", "mysql", source.String())
				delete(open, source)
			case 4, 5:
				m.must("grant", "mysql", source.String(), "--for", "2h")
				open[source] = true
			default:
				m.opened(source)
				m.eventually("it is open", soon, func() bool { return m.answers(source) })
				open[source] = true
			}
		}
		healed := time.Now()
		for _, m := range cut {
			m.mend()
		}
		for i := range 8 {
			source := lab.ForgedAddr4(i)
			if open[source] {
				f.open(source, f.all...)
			} else {
				f.shut(source, f.all...)
			}
		}
		t.Logf("%d of 3 nodes cut off, %d acts: all agree after %v, %d open", len(cut), acts, time.Since(healed), len(open))
	}
}

// TestATokenThatWasSpentOnOneNodeOpensNoOther, from any address; and what it has opened is the user's on all of them.
func TestATokenThatWasSpentOnOneNodeOpensNoOther(t *testing.T) {
	t.Parallel()
	kinds := eachKind()
	f := newNodes(t, kinds[0], kinds[0], kinds[1])
	signed := f.all[:2]
	alice, bob := keys.New("admin", "alice", "web", time.Now(), time.Time{}), keys.New("admin", "bob", "web", time.Now(), time.Time{})
	for _, m := range f.all {
		m.begin()
	}
	f.together(f.all...)
	for _, m := range signed {
		m.profile("admin", "signed = { carrier = \"icmp\" }\nopen = [\"3306/tcp\"]\n")
		m.run.logs("signed profiles are shut")
		folder, refresh := keys.FolderOf(m.config), server.KeyRefresh{Now: time.Now(), Record: keys.StoreOf(m.config, func(string) string { return "" }).Record}
		for _, k := range []*format.KeyFile{alice, bob} {
			if _, err := folder.Add(k); err != nil {
				t.Fatal(err)
			}
			refresh.Keys, refresh.Fresh = append(refresh.Keys, k.Key), append(refresh.Fresh, k.ID())
		}
		if err := m.host.Do(func() error { // in the first minute, the service takes what it finds in files alone for old keys
			b, _, err := server.OpenBackend(t.Context(), "nftables")
			if err != nil {
				return err
			}
			_, err = server.New(b, server.DefaultSettings()).RefreshKeys(t.Context(), refresh)
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	send := func(m *member, source netip.Addr, token protocol.Token) {
		t.Helper()
		m.port++
		if err := m.wire.Inject(lab.Echo(source, m.host.Addr4, m.port, 1, token[:])); err != nil {
			t.Fatal(err)
		}
	}
	one, two := signed[0], signed[1]
	slot := protocol.Slot(time.Now())
	token, other := alice.Token(slot, 0), bob.Token(slot, 0)
	send(one, lab.ForgedAddr4(1), token)
	f.open(lab.ForgedAddr4(1), signed...)
	for _, m := range signed {
		m.eventually("the lease is alice's", soon, func() bool {
			return slices.ContainsFunc(m.form().Sources, func(s sourceForm) bool { return s.User == "alice" && s.State == "open" })
		})
		send(m, lab.ForgedAddr4(2), token)
		if m.answers(lab.ForgedAddr4(2)) {
			t.Errorf("%s: the token opens once more", m.name())
		}
	}
	send(two, lab.ForgedAddr4(3), other)
	f.open(lab.ForgedAddr4(3), signed...)
	one.must("revoke", "admin", "--user", "alice")
	f.shut(lab.ForgedAddr4(1), signed...)
	f.open(lab.ForgedAddr4(3), signed...)
}

// TestWhoGivesALeaseBackOnOneNodeIsShutOutByAll, at once.
func TestWhoGivesALeaseBackOnOneNodeIsShutOutByAll(t *testing.T) {
	t.Parallel()
	f := newNodes(t, eachKind()...)
	for _, m := range f.all {
		m.profile("mysql", articleProfile+"close = \"9000/tcp\"\n")
		m.begin()
	}
	f.together(f.all...)
	for i, m := range f.all {
		for _, source := range []netip.Addr{lab.ForgedAddr4(i), lab.ForgedAddr6(i)} {
			m.opened(source)
			f.open(source, f.all...)
			m.knock(source, "9000/tcp")
			f.shut(source, f.all...)
			m.run.logs("msg=\"given back\" profile=mysql address=" + source.String())
			other := f.all[(i+1)%3]
			other.run.logs("msg=\"revoke by the fleet\" profile=mysql address=" + source.String())
		}
	}
}

// fleetForm is what `fleet status --json` prints on a node.
func (m *member) fleetForm() (f fleetForm, code int) {
	m.t.Helper()
	out := m.knockd("fleet", "status", "--json")
	d := json.NewDecoder(strings.NewReader(out.Stdout))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		m.t.Fatalf("%v\n%s%s", err, out.Stdout, out.Stderr)
	}
	return f, out.Code
}

func TestFleetStatusSaysWhoIsConnectedAndWhatTheLossOfOneMeans(t *testing.T) {
	t.Parallel()
	f := newNodes(t, eachKind()...)
	one, two, three := f.all[0], f.all[1], f.all[2]
	if out := one.knockd("fleet", "status"); out.Code != 1 || !strings.Contains(out.Stderr, "no service runs here") {
		t.Errorf("exit %d: %s", out.Code, out.Stderr)
	}
	one.begin()
	says := func(m *member, code int, words ...string) {
		t.Helper()
		m.eventually(strings.Join(words, ", "), soon, func() bool {
			out := m.knockd("fleet", "status")
			return out.Code == code && !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(narrow(out.Stdout)+out.Stderr, w) })
		})
	}
	says(one, 1, "198.51.100.1:7115 this node", "198.51.100.2:7115 not seen - yes", "0 of 3 engines are connected, and the store needs 2", "error: the store does not answer")
	two.begin()
	says(one, 0, "198.51.100.2:7115 connected", "198.51.100.3:7115 not seen", "2 of 3 engines are connected: the loss of one more stops the store")
	three.begin()
	f.together(f.all...)
	says(three, 0, "198.51.100.1:7115 connected", "3 of 3 engines are connected: the store survives the loss of 1", "web: leases 0, endings 0, not stored yet 0")
	one.opened(lab.ForgedAddr4(1))
	f.open(lab.ForgedAddr4(1), f.all...)
	two.kill()
	says(three, 0, "198.51.100.2:7115 away", "web: leases 1")
	form, code := three.fleetForm()
	if code != 0 || form.Fleet != "web" || form.Node != "198.51.100.3:7115" || !form.Engine || !form.Connected || form.Why != nil || form.Leases != 1 || len(form.Nodes) != 2 || form.Nodes[1].State != "away" {
		t.Errorf("exit %d, %+v", code, form)
	}
}

// TestTheProgramOfANodeIsStartedAgainAndEndsWithTheService: what was said meanwhile is told then.
func TestTheProgramOfANodeIsStartedAgainAndEndsWithTheService(t *testing.T) {
	t.Parallel()
	f := newNodes(t, eachKind()...)
	for _, m := range f.all {
		m.begin()
	}
	f.together(f.all...)
	one := f.all[0]
	child := one.children()
	if len(child) != 1 {
		t.Fatalf("the service has started %v", child)
	}
	if err := syscall.Kill(child[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	one.run.logs("the program of the node has ended, and is started again")
	one.opened(lab.ForgedAddr4(1))
	f.open(lab.ForgedAddr4(1), f.all...)
	for _, m := range f.all {
		all := m.children()
		m.kill()
		m.eventually("its program ends", soon, func() bool {
			return !slices.ContainsFunc(all, func(pid int) bool { return syscall.Kill(pid, 0) == nil })
		})
	}
}

// children are the processes that the service has started, and that run.
func (m *member) children() (all []int) {
	m.t.Helper()
	pid := m.run.cmd.Process.Pid
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		m.t.Fatal(err)
	}
	var text []byte
	for _, path := range tasks { // each thread has its own
		one, err := os.ReadFile(path)
		if err != nil {
			continue // the thread has ended
		}
		text = append(append(text, one...), ' ')
	}
	for _, word := range strings.Fields(string(text)) {
		n, err := strconv.Atoi(word)
		if err != nil {
			m.t.Fatal(err)
		}
		all = append(all, n)
	}
	return all
}
