//go:build linux

package lab_test

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
	"knockkit/protocol"
)

// pair is two linked hosts, and a socket on each.
type pair struct {
	a, b   *lab.Host
	link   *lab.Link
	ca, cb net.PacketConn
}

func newPair(t *testing.T, c lab.Conditions) pair {
	t.Helper()
	p := pair{a: labtest.NewHost(t, "a"), b: labtest.NewHost(t, "b")}
	p.link = labtest.Connect(t, p.a, p.b, c)
	p.ca = labtest.ListenPacket(t, p.a, "udp4", p.a.Addr4.String()+":4000")
	p.cb = labtest.ListenPacket(t, p.b, "udp4", p.b.Addr4.String()+":4000")
	// Some hundred packets wait there until they are read: the kernel's default is just
	// enough, and not always.
	if err := p.cb.(*net.UDPConn).SetReadBuffer(1 << 20); err != nil {
		t.Fatal(err)
	}
	return p
}

// send sends a number from a to b.
func (p pair) send(t *testing.T, i int) {
	t.Helper()
	to := &net.UDPAddr{IP: p.b.Addr4.AsSlice(), Port: 4000}
	if _, err := p.ca.WriteTo(binary.BigEndian.AppendUint32(nil, uint32(i)), to); err != nil {
		t.Fatal(err)
	}
}

// receive returns the numbers that reach b until the last one does.
func (p pair) receive(t *testing.T, last int) []int {
	t.Helper()
	if err := p.cb.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	var got []int
	buf := make([]byte, 100)
	for {
		n, _, err := p.cb.ReadFrom(buf)
		if err != nil {
			t.Fatalf("after %v: %v", got, err)
		}
		i := int(binary.BigEndian.Uint32(buf[:n]))
		got = append(got, i)
		if i == last {
			return got
		}
	}
}

func TestADelayIsKeptToAboutAMillisecond(t *testing.T) {
	const delay = 20 * time.Millisecond
	p := newPair(t, lab.Conditions{Delay: delay})
	var took []time.Duration
	for i := range 15 {
		start := time.Now()
		p.send(t, i)
		p.receive(t, i)
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	// Never early; late by less than 2 ms at the median, because a busy machine may
	// hold single ones up.
	if median := took[len(took)/2]; took[0] < delay || median > delay+2*time.Millisecond {
		t.Errorf("a delay of %v took %v", delay, took)
	}
}

func TestLossDuplicationAndOrderAreAsTheSeedHasThem(t *testing.T) {
	const n = 300
	p := newPair(t, lab.Conditions{})
	first, second := p.sendMany(t, n), p.sendMany(t, n)
	if !slices.Equal(first, second) {
		t.Errorf("one seed, two outcomes:\n%v\n%v", first, second)
	}
	if !slices.IsSorted(first) {
		t.Errorf("out of order: %v", first)
	}
	different := len(slices.Compact(slices.Clone(first)))
	// 300 × 0.8 = 240 arrive, give or take 7: five standard deviations are 35.
	if different < 205 || different > 275 {
		t.Errorf("%d of %d packets arrived, want about 240", different, n)
	}
	// 240 × 0.1 = 24 of them twice, give or take 4.6: five are 23.
	if twice := len(first) - different; twice < 1 || twice > 47 {
		t.Errorf("%d packets arrived twice, want about 24", twice)
	}
}

// sendMany sends n numbers through loss and duplication and returns what arrives.
func (p pair) sendMany(t *testing.T, n int) []int {
	t.Helper()
	bad := lab.Conditions{Delay: time.Millisecond, Jitter: time.Millisecond, Loss: 0.2, Duplicate: 0.1, Seed: 1}
	if err := p.link.SetConditions(bad); err != nil {
		t.Fatal(err)
	}
	tap := p.link.Tap(n)
	defer tap.Close()
	for i := range n {
		p.send(t, i)
		<-tap.C // the link has it
	}
	// The last one cannot be lost, and comes after the others.
	if err := p.link.SetConditions(lab.Conditions{}); err != nil {
		t.Fatal(err)
	}
	p.send(t, n)
	got := p.receive(t, n)
	return got[:len(got)-1]
}

func TestAReorderedPacketOvertakesThoseUnderWay(t *testing.T) {
	p := newPair(t, lab.Conditions{Delay: 50 * time.Millisecond})
	tap := p.link.Tap(10)
	p.send(t, 0)
	<-tap.C
	if err := p.link.SetConditions(lab.Conditions{Delay: 50 * time.Millisecond, Reorder: 1}); err != nil {
		t.Fatal(err)
	}
	p.send(t, 1)
	if got, want := p.receive(t, 0), []int{1, 0}; !slices.Equal(got, want) {
		t.Errorf("received %v, want %v", got, want)
	}
}

func TestOneDirectionCanBeWorseThanTheOther(t *testing.T) {
	p := newPair(t, lab.Conditions{})
	if err := p.link.SetToward(p.a, lab.Conditions{Loss: 1}); err != nil {
		t.Fatal(err)
	}
	tap := p.link.Tap(10)
	if _, err := p.cb.WriteTo([]byte("lost"), p.ca.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	<-tap.C
	p.send(t, 1)
	p.receive(t, 1)
	if err := p.ca.SetReadDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, _, err := p.ca.ReadFrom(make([]byte, 100)); err == nil {
		t.Errorf("%d bytes came through a direction that loses everything", n)
	}
	if err := p.link.SetToward(labtest.NewHost(t, "other"), lab.Conditions{}); err == nil {
		t.Error("a host that is not on the link was accepted")
	}
}

func TestAnInjectedPacketReachesAListenerAndItsAnswerLeavesOverTheLink(t *testing.T) {
	p := newPair(t, lab.Conditions{Loss: 1, Delay: time.Hour})
	tap := p.link.Tap(10)
	labtest.Listen(t, p.b, "tcp", ":4001")
	for _, to := range []netip.AddrPort{netip.AddrPortFrom(p.b.Addr4, 4001), netip.AddrPortFrom(p.b.Addr6, 4001)} {
		forged := netip.AddrPortFrom(lab.ForgedAddr4(300), 5000)
		if to.Addr().Is6() {
			forged = netip.AddrPortFrom(lab.ForgedAddr6(300), 5000)
		}
		if err := p.link.Inject(p.b, lab.SYN(forged, to)); err != nil {
			t.Fatal(err)
		}
		seen := next(t, tap)
		got, err := lab.Parse(seen.Packet)
		if err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf("%v > %v tcp syn+ack", to, forged)
		if seen.From != p.b || got.String() != want {
			t.Errorf("%s sent %v, want b to send %s", seen.From, got, want)
		}
	}
}

// next returns the next packet that a tap shows.
func next(t *testing.T, tap *lab.Tap) lab.Sent {
	t.Helper()
	select {
	case s := <-tap.C:
		return s
	case <-time.After(5 * time.Second):
		t.Fatal("the tap shows nothing")
		return lab.Sent{}
	}
}

func TestDropLosesWhatTheTestChooses(t *testing.T) {
	p := newPair(t, lab.Conditions{})
	p.link.Drop(func(from *lab.Host, packet []byte) bool {
		got, err := lab.Parse(packet)
		return err == nil && got.Proto == protocol.UDP && got.Payload[3] == 2
	})
	for i := range 5 {
		p.send(t, i)
	}
	if got, want := p.receive(t, 4), []int{0, 1, 3, 4}; !slices.Equal(got, want) {
		t.Errorf("received %v, want %v", got, want)
	}
}

func TestATapThatNobodyReadsCountsInsteadOfWaiting(t *testing.T) {
	p := newPair(t, lab.Conditions{})
	tap := p.link.Tap(2)
	for i := range 10 {
		p.send(t, i)
	}
	p.receive(t, 9) // nothing was held up
	if shown := len(tap.C); shown != 2 || tap.Missed() != 8 {
		t.Errorf("%d packets shown and %d missed, want 2 and 8", shown, tap.Missed())
	}
	if err := p.link.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		<-tap.C
	}
	if _, open := <-tap.C; open {
		t.Error("the tap is open after its link was closed")
	}
}

func TestALinkCarriesTCP(t *testing.T) {
	p := newPair(t, lab.Conditions{Delay: 2 * time.Millisecond, Jitter: time.Millisecond, Loss: 0.01, Duplicate: 0.05, Reorder: 0.05})
	for _, addr := range []netip.Addr{p.b.Addr4, p.b.Addr6} {
		labtest.Listen(t, p.b, "tcp", netip.AddrPortFrom(addr, 4000).String())
		reach(t, p.a, addr)
	}
}
