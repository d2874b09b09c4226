package client

import (
	"testing"
	"time"

	"knockkit/protocol"
)

const ms = time.Millisecond

func tcpKnock(port uint16) protocol.Knock { return protocol.Knock{Proto: protocol.TCP, Port: port} }

// mysql is the article's sequence with the default timing.
func mysql() *protocol.Profile {
	return &protocol.Profile{
		Name: "mysql",
		Sequence: []protocol.Step{
			{Knock: protocol.Knock{Proto: protocol.ICMP}},
			{Knock: tcpKnock(7), Within: protocol.DefaultWithin},
			{Knock: tcpKnock(8000), Within: protocol.DefaultWithin},
		},
		Open:   []protocol.PortRange{{Proto: protocol.TCP, First: 3306, Last: 3306}},
		Client: protocol.Client{Gap: protocol.DefaultGap, Attempts: protocol.DefaultAttempts, Verify: true},
	}
}

func TestTheTimingOfAnAttempt(t *testing.T) {
	for _, c := range []struct {
		name     string
		attempt  int
		rtt      time.Duration
		gap      time.Duration
		within   time.Duration
		noVerify bool
		want     plan
	}{
		{name: "the first is fast and does not listen", attempt: 1, gap: 10 * ms, within: 10 * time.Second,
			want: plan{wait: 10 * ms, copies: 1, settle: 10 * ms, window: lifetime}},
		{name: "the second is five times slower, doubled, and listens", attempt: 2, gap: 10 * ms, within: 10 * time.Second,
			want: plan{wait: 50 * ms, copies: 2, early: true, settle: 10 * ms, window: lifetime}},
		{name: "the third again", attempt: 3, gap: 10 * ms, within: 10 * time.Second,
			want: plan{wait: 250 * ms, copies: 3, early: true, settle: 10 * ms, window: lifetime}},
		{name: "later ones grow no more", attempt: 9, gap: 10 * ms, within: 10 * time.Second,
			want: plan{wait: 250 * ms, copies: 3, early: true, settle: 10 * ms, window: lifetime}},
		{name: "a long round trip makes room for its reply", attempt: 2, rtt: 200 * ms, gap: 10 * ms, within: 10 * time.Second,
			want: plan{wait: 400 * ms, copies: 2, early: true, settle: 10 * ms, window: 800 * ms}},
		{name: "a near host is not waited for as long", attempt: 2, rtt: 1 * ms, gap: 10 * ms, within: 10 * time.Second,
			want: plan{wait: 50 * ms, copies: 2, early: true, settle: 10 * ms, window: 300 * ms}},
		{name: "never slower than half of within", attempt: 3, rtt: 800 * ms, gap: 200 * ms, within: time.Second,
			want: plan{wait: 500 * ms, copies: 3, early: true, settle: 200 * ms, window: lifetime}},
		{name: "also where the gap is", attempt: 1, gap: 2 * time.Second, within: time.Second,
			want: plan{wait: 500 * ms, copies: 1, settle: 500 * ms, window: lifetime}},
		{name: "no limit", attempt: 1, gap: 2 * time.Second, within: 0,
			want: plan{wait: 2 * time.Second, copies: 1, settle: 2 * time.Second, window: lifetime}},
		{name: "without a gap the second still has one", attempt: 2, gap: 0, within: 10 * time.Second,
			want: plan{wait: 50 * ms, copies: 2, early: true, settle: 0, window: lifetime}},
		{name: "what nothing verifies is sent with care at once", attempt: 1, gap: 10 * ms, within: 10 * time.Second, noVerify: true,
			want: plan{wait: 50 * ms, copies: 2, early: true, settle: 10 * ms, window: lifetime}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := mysql()
			p.Client.Gap = c.gap
			for i := 1; i < len(p.Sequence); i++ {
				p.Sequence[i].Within = c.within
			}
			if got := planFor(p, c.attempt, c.rtt, !c.noVerify); got != c.want {
				t.Errorf("got  %+v\nwant %+v", got, c.want)
			}
		})
	}
}

func TestOnlyAConnectionThatCostsNothingVerifies(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Target)
		want   bool
	}{
		{"a tcp port", func(*Target) {}, true},
		{"verify = false", func(t *Target) { t.Profile.Client.Verify = false }, false},
		{"the caller's wish", func(t *Target) { t.NoVerify = true }, false},
		{"once: the check would use the lease up", func(t *Target) { t.Profile.Once = true }, false},
		{"only udp", func(t *Target) { t.Profile.Open[0].Proto = protocol.UDP }, false},
		{"tcp after udp", func(t *Target) {
			t.Profile.Open = append([]protocol.PortRange{{Proto: protocol.UDP, First: 1, Last: 1}}, t.Profile.Open...)
		}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			target := Target{Profile: mysql()}
			c.change(&target)
			if got := target.verified(); got != c.want {
				t.Errorf("verified: %v, want %v", got, c.want)
			}
		})
	}
}
