package server_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	vnetlink "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
	"knockkit/protocol"
	"knockkit/server"
)

// conversation is one side of a TCP connection, segment by segment: the test is the client.
type conversation struct {
	s        *site
	from, to netip.AddrPort
	seq, ack uint32
}

// converse begins nothing yet: from a new port of the source.
func (s *site) converse(src netip.Addr, port uint16) *conversation {
	s.port++
	return &conversation{s: s, from: netip.AddrPortFrom(src, s.port), to: netip.AddrPortFrom(s.dest(src), port), seq: 1000}
}

// say sends a segment, and says in words what comes back in this connection.
func (c *conversation) say(flags lab.Flags, payload string) string {
	c.s.t.Helper()
	if err := c.s.wire.Inject(lab.Segment(c.from, c.to, flags, c.seq, c.ack, []byte(payload))); err != nil {
		c.s.t.Fatal(err)
	}
	c.seq += uint32(len(payload))
	if flags.Has(lab.FlagSYN) || flags.Has(lab.FlagFIN) {
		c.seq++
	}
	return c.hear()
}

// again sends once more the SYN that was said last.
func (c *conversation) again() string {
	c.seq--
	return c.say(lab.FlagSYN, "")
}

// hear says what has come, "silence" if nothing, and takes note of how far it goes.
func (c *conversation) hear() string {
	c.s.t.Helper()
	heard := "silence"
	for _, p := range c.s.answers() {
		if p.Proto == protocol.TCP && p.DstPort == c.from.Port() && p.Dst == c.from.Addr() {
			heard, c.ack = p.Flags.String(), p.SeqNum+uint32(len(p.Payload))
			if p.Flags.Has(lab.FlagSYN) || p.Flags.Has(lab.FlagFIN) {
				c.ack++
			}
		}
	}
	return heard
}

// hears waits for an answer with the flags.
func (c *conversation) hears(flags lab.Flags) {
	c.s.t.Helper()
	labtest.Eventually(c.s.t, soon, func() error {
		if got := c.hear(); got != flags.String() {
			return fmt.Errorf("%s came, not %s", got, flags)
		}
		return nil
	})
}

// expect fails unless what was heard is what was wanted.
func (c *conversation) expect(got, want, when string) {
	c.s.t.Helper()
	if got != want {
		c.s.t.Errorf("%s gets %s, not %s", when, got, want)
	}
}

// isTracked fails the test unless conntrack has an entry of the connection: without one it
// would prove nothing.
func (c *conversation) isTracked() {
	c.s.t.Helper()
	family := vnetlink.InetFamily(unix.AF_INET)
	if c.from.Addr().Is6() {
		family = unix.AF_INET6
	}
	c.s.do(func() error {
		flows, err := vnetlink.ConntrackTableList(vnetlink.ConntrackTable, family)
		if err == nil && !slices.ContainsFunc(flows, func(f *vnetlink.ConntrackFlow) bool { return f.Forward.SrcPort == c.from.Port() }) {
			err = errors.New("conntrack has forgotten the connection")
		}
		return err
	})
}

// serverHasForgotten waits until the host has no socket of the connection any more.
func (c *conversation) serverHasForgotten() {
	c.s.t.Helper()
	labtest.Eventually(c.s.t, 2*soon, func() error {
		var sockets []*vnetlink.Socket // one that listens for both families is of IPv6
		c.s.do(func() (err error) { sockets, err = vnetlink.SocketDiagTCP(unix.AF_INET6); return err })
		for _, s := range sockets {
			if s.ID.DestinationPort == c.from.Port() {
				return fmt.Errorf("the server's socket is in state %d", s.State)
			}
		}
		return nil
	})
}

// service listens on port 3306 of the site, one connection after another.
type service struct {
	t *testing.T
	l net.Listener
}

func (s *site) service() service {
	return service{s.t, labtest.Listen(s.t, s.host, "tcp", "[::]:3306")}
}

// accepts returns the connection that has come.
func (v service) accepts() net.Conn {
	v.t.Helper()
	if err := v.l.(*net.TCPListener).SetDeadline(time.Now().Add(soon)); err != nil {
		v.t.Fatal(err)
	}
	c, err := v.l.Accept()
	if err != nil {
		v.t.Fatal(err)
	}
	v.t.Cleanup(func() { c.Close() })
	return c
}

// eachGate runs f on every backend, for gates at both places.
func eachGate(t *testing.T, more string, f func(s *site, v service)) {
	t.Helper()
	eachBackend(t, func(t *testing.T, name string) {
		for _, place := range []string{"input", "prerouting"} {
			t.Run(place, func(t *testing.T) {
				s := newSite(t, name, strict())
				if err := s.host.Sysctl("ipv4/tcp_fin_timeout", "1"); err != nil { // how long the server waits for a client's FIN
					t.Fatal(err)
				}
				v := s.service()
				s.install(article(t, fmt.Sprintf("place = %q\n%s", place, more)))
				f(s, v)
			})
		}
	})
}

// eachGateAndSource is eachGate with a source of each family.
func eachGateAndSource(t *testing.T, more string, f func(s *site, v service, src netip.Addr)) {
	t.Helper()
	eachGate(t, more, func(s *site, v service) {
		for _, src := range everyone() {
			f(s, v, src)
		}
	})
}

// leftOpen makes connections that the server closes and the client never does, one from each
// source, so that conntrack remembers them when the server has long forgotten.
func leftOpen(s *site, v service, knocks ...protocol.Knock) []*conversation {
	s.t.Helper()
	var all []*conversation
	for _, src := range everyone() {
		s.send(src, knocks...)
		c := s.converse(src, 3306)
		c.expect(c.say(lab.FlagSYN, ""), "syn+ack", "a SYN that may pass")
		c.say(lab.FlagACK, "")
		v.accepts().Close()
		c.hears(lab.FlagFIN | lab.FlagACK)
		c.say(lab.FlagACK, "")
		all = append(all, c)
	}
	for _, c := range all {
		c.serverHasForgotten()
		c.isTracked()
		c.seq += 1 << 20 // of the next connection from the same port
	}
	return all
}

// TestASYNInTheEntryOfAnOldConnectionNeedsALease: for conntrack it is ESTABLISHED.
func TestASYNInTheEntryOfAnOldConnectionNeedsALease(t *testing.T) {
	for _, once := range []bool{false, true} {
		t.Run(fmt.Sprintf("once=%v", once), func(t *testing.T) {
			eachGate(t, fmt.Sprintf("once = %v", once), func(s *site, v service) {
				for i, c := range leftOpen(s, v, ping, tcp(7), tcp(8000)) {
					if !once {
						s.do(func() error {
							_, err := s.srv.Revoke(t.Context(), "mysql", single(everyone()[i]), false)
							return err
						})
					}
					c.expect(c.say(lab.FlagSYN, ""), "silence", "who has no lease any more")
					c.isTracked()
					s.send(everyone()[i], ping, tcp(7), tcp(8000))
					c.expect(c.again(), "syn+ack", "a lease holder that uses a port again")
				}
			})
		})
	}
}

// TestASYNInTheEntryOfAnOldConnectionIsAnEvent: it is a knock like any other.
func TestASYNInTheEntryOfAnOldConnectionIsAnEvent(t *testing.T) {
	eachBackend(t, func(t *testing.T, name string) {
		s := newSite(t, name, strict())
		if err := s.host.Sysctl("ipv4/tcp_fin_timeout", "1"); err != nil {
			t.Fatal(err)
		}
		v := s.service()
		s.install(parse(t, "web", "sequence = [\"7/tcp\", \"3306/tcp\"]\nopen = [\"80/tcp\"]"))
		for i, c := range leftOpen(s, v) {
			src := everyone()[i]
			s.send(src, tcp(7))
			c.say(lab.FlagSYN, "")
			if !s.holds("web", src) {
				t.Errorf("%s has no lease", src)
			}
		}
	})
}

// TestAnAnswerThatIsLostBehindTheGateIsGivenAgain: the SYN that comes again is the one that
// used the lease up. With SYN cookies the server remembers nothing, and the gate has to let
// it through.
func TestAnAnswerThatIsLostBehindTheGateIsGivenAgain(t *testing.T) {
	for _, cookies := range []string{"0", "2"} { // never, always
		t.Run("syncookies="+cookies, func(t *testing.T) {
			eachGateAndSource(t, "once = true", func(s *site, v service, src netip.Addr) {
				for name, value := range map[string]string{"tcp_syncookies": cookies, "tcp_invalid_ratelimit": "0"} { // answers at once
					if err := s.host.Sysctl("ipv4/"+name, value); err != nil {
						t.Fatal(err)
					}
				}
				s.send(src, ping, tcp(7), tcp(8000))
				c := s.converse(src, 3306)
				c.expect(c.say(lab.FlagSYN, ""), "syn+ack", "the first SYN")
				for range 3 {
					c.expect(c.again(), "syn+ack", "the same SYN again")
				}
				c.say(lab.FlagACK, "")
				c.say(lab.FlagPSH|lab.FlagACK, "hello")
				conn := v.accepts()
				if err := conn.SetDeadline(time.Now().Add(soon)); err != nil {
					t.Fatal(err)
				}
				if word, err := io.ReadAll(io.LimitReader(conn, 5)); string(word) != "hello" {
					t.Errorf("the connection brings %q, %v", word, err)
				}
				other := s.converse(src, 3306)
				other.expect(other.say(lab.FlagSYN, ""), "silence", "a second connection")
			})
		})
	}
}

// TestAClientMayEndItsSideAtOnceThoughItsFirstACKIsLost: a FIN with data then completes the
// handshake, of which conntrack sees no ACK.
func TestAClientMayEndItsSideAtOnceThoughItsFirstACKIsLost(t *testing.T) {
	for _, more := range []string{"", "once = true"} {
		t.Run(more, func(t *testing.T) {
			eachGateAndSource(t, more, func(s *site, v service, src netip.Addr) {
				s.send(src, ping, tcp(7), tcp(8000))
				c := s.converse(src, 3306)
				c.expect(c.say(lab.FlagSYN, ""), "syn+ack", "the first SYN")
				c.say(lab.FlagFIN|lab.FlagACK, "hello")
				conn := v.accepts()
				if err := conn.SetDeadline(time.Now().Add(soon)); err != nil {
					t.Fatal(err)
				}
				if word, err := io.ReadAll(conn); string(word) != "hello" || err != nil {
					t.Errorf("the server reads %q, %v", word, err)
				}
				if _, err := io.WriteString(conn, "there"); err != nil {
					t.Fatal(err)
				}
				c.hears(lab.FlagPSH | lab.FlagACK)
				c.say(lab.FlagACK, "")
			})
		})
	}
}

// TestNoConnectionIsKeptInStoreForWhenTheLeaseIsOver: conntrack keeps the entry of a handshake
// whose ACK never comes, for as long as the client sends something in its place.
func TestNoConnectionIsKeptInStoreForWhenTheLeaseIsOver(t *testing.T) {
	for _, once := range []bool{false, true} {
		t.Run(fmt.Sprintf("once=%v", once), func(t *testing.T) {
			eachGateAndSource(t, fmt.Sprintf("once = %v", once), func(s *site, v service, src netip.Addr) {
				s.send(src, ping, tcp(7), tcp(8000))
				c := s.converse(src, 3306)
				c.expect(c.say(lab.FlagSYN, ""), "syn+ack", "the first SYN")
				if once {
					s.handshakeTimeIsOver(src)
				} else {
					s.do(func() error { _, err := s.srv.Revoke(t.Context(), "mysql", single(src), false); return err })
				}
				c.expect(c.again(), "silence", "the same SYN")
				c.seq += 1 << 20
				c.expect(c.say(lab.FlagSYN, ""), "silence", "another SYN")
				c.isTracked()
			})
		})
	}
}

// handshakeTimeIsOver is as if the source had used its lease up a while ago.
func (s *site) handshakeTimeIsOver(src netip.Addr) {
	s.t.Helper()
	family := map[bool]string{true: "4", false: "6"}[src.Is4()]
	if s.srv.Backend().Name() == "nftables" {
		s.run("nft", "delete element inet knockd used"+family+"-mysql { "+src.String()+" }")
		return
	}
	s.do(func() error {
		return os.WriteFile("/proc/thread-self/net/xt_recent/mysql.used.KNOCKD"+family, []byte("-"+src.String()+"\n"), 0)
	})
}

// TestAConnectionThatAHelperExpectsNeedsALease: a server of FTP tells its client of a port,
// and conntrack's helper expects a connection to it, whichever port that is.
func TestAConnectionThatAHelperExpectsNeedsALease(t *testing.T) {
	for _, more := range []string{"", "once = true"} {
		t.Run(more, func(t *testing.T) {
			eachGateAndSource(t, more, func(s *site, v service, src netip.Addr) {
				ftp := service{s.t, labtest.Listen(s.t, s.host, "tcp", netip.AddrPortFrom(s.dest(src), 21).String())}
				s.run("nft", `table inet helpers {
					ct helper ftp { type "ftp" protocol tcp; }
					chain c { type filter hook prerouting priority -160; tcp dport 21 ct helper set "ftp"; tcp dport 3306 ct state related counter; }
				}`)
				defer s.run("nft", "delete table inet helpers")
				c := s.converse(src, 21)
				c.expect(c.say(lab.FlagSYN, ""), "syn+ack", "a SYN to 21")
				c.say(lab.FlagACK, "")
				server := ftp.accepts()
				if _, err := io.WriteString(server, "220 ready\r\n"); err != nil {
					t.Fatal(err)
				}
				c.hears(lab.FlagPSH | lab.FlagACK)
				passive := fmt.Sprintf("229 Entering Extended Passive Mode (|||%d|)\r\n", 3306)
				ask := "EPSV\r\n"
				if src.Is4() {
					a := s.dest(src).As4()
					ask, passive = "PASV\r\n", fmt.Sprintf("227 Entering Passive Mode (%d,%d,%d,%d,12,234)\r\n", a[0], a[1], a[2], a[3])
				}
				c.say(lab.FlagPSH|lab.FlagACK, ask)
				if _, err := io.WriteString(server, passive); err != nil {
					t.Fatal(err)
				}
				c.hears(lab.FlagPSH | lab.FlagACK)
				c.say(lab.FlagACK, "")
				data := s.converse(src, 3306)
				data.expect(data.say(lab.FlagSYN, ""), "silence", "the connection that is expected")
				if table := s.run("nft", "list table inet helpers"); !strings.Contains(table, "counter packets 1 ") {
					t.Errorf("conntrack did not expect it:\n%s", table)
				}
			})
		})
	}
}

// TestASynproxyInFrontOfTheGateLetsOnlyLeaseHoldersIn: it answers everybody, and then sends
// the client's SYN to the server over loopback, from the client's address.
func TestASynproxyInFrontOfTheGateLetsOnlyLeaseHoldersIn(t *testing.T) {
	eachBackend(t, func(t *testing.T, name string) {
		srv, client := labtest.NewHost(t, "server"), labtest.NewHost(t, "client")
		labtest.Join(t, srv, client)
		l := labtest.Listen(t, srv, "tcp", "[::]:3306")
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() { _, _ = io.Copy(c, c) }()
			}
		}()
		if err := srv.Sysctl("netfilter/nf_conntrack_tcp_loose", "0"); err != nil { // as its manual asks for
			t.Fatal(err)
		}
		labtest.MustRun(t, srv, "", "nft", `table inet proxy {
			chain raw { type filter hook prerouting priority raw; iifname != "lo" tcp dport 3306 tcp flags & (fin | syn | rst | ack) == syn notrack; }
			chain in { type filter hook input priority -20; tcp dport 3306 ct state invalid,untracked synproxy mss 1460 wscale 7 timestamp sack-perm; }
		}`)
		b, _, err := server.OpenBackend(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		s := server.New(b, strict())
		inside := func(f func() error) {
			t.Helper()
			if err := srv.Do(f); err != nil {
				t.Fatal(err)
			}
		}
		inside(func() error {
			_, err := s.Install(t.Context(), alone(t, "once = true"), server.InstallOptions{})
			return err
		})
		isIn := func(to netip.Addr, patience time.Duration) bool {
			c, err := client.Dial(t.Context(), "tcp", netip.AddrPortFrom(to, 3306).String())
			if err != nil {
				t.Fatalf("the proxy does not answer: %v", err)
			}
			defer c.Close()
			if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
				t.Fatal(err)
			}
			_, err = c.Write([]byte("x"))
			n, _ := c.Read(make([]byte, 1))
			return err == nil && n == 1
		}
		for _, to := range []netip.Addr{srv.Addr4, srv.Addr6} {
			from := client.Addr4
			if to.Is6() {
				from = client.Addr6
			}
			if isIn(to, time.Second) {
				t.Errorf("a stranger is in at %s", to)
			}
			inside(func() error { _, err := s.Grant(t.Context(), "mysql", single(from), 0); return err })
			if !isIn(to, soon) {
				t.Errorf("a lease holder is not in at %s", to)
			}
			if isIn(to, time.Second) {
				t.Errorf("a lease for one connection lets a second in at %s", to)
			}
		}
	})
}
