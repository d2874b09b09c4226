package main

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
	"knockkit/protocol"
	"knockkit/protocol/format"
)

// served is a site that the test sends packets to, from any source.
type served struct {
	*site
	wire    *lab.Wire
	port    uint16
	backend string
}

// eachBackend runs a test on both flavours of iptables and on nftables.
func eachBackend(t *testing.T, f func(t *testing.T, s *served)) {
	labtest.NeedRoot(t)
	labtest.NeedTUN(t)
	labtest.Need(t, "iptables-nft-restore", "iptables-legacy-restore", "nft")
	program(t) // builds it, while PATH is as it was
	for _, flavour := range lab.Flavours() {
		t.Run(flavour.Name, func(t *testing.T) {
			t.Setenv("PATH", labtest.PathOf(t, flavour)+":"+os.Getenv("PATH"))
			f(t, newServed(t, "iptables"))
		})
	}
	t.Run("nftables", func(t *testing.T) { f(t, newServed(t, "nftables")) })
}

// eachBackendAtOnce is eachBackend for tests that call tools by the site alone.
func eachBackendAtOnce(t *testing.T, f func(t *testing.T, s *served)) {
	atOnce(t, func(t *testing.T, s *site) {
		backend := "iptables"
		if strings.HasSuffix(t.Name(), "/nftables") {
			backend = "nftables"
		}
		f(t, serve(t, s, backend))
	})
}

func newServed(t *testing.T, backend string) *served {
	t.Helper()
	return serve(t, newSite(t), backend)
}

func serve(t *testing.T, on *site, backend string) *served {
	t.Helper()
	s := &served{site: on, port: 20000, backend: backend}
	s.settings(fmt.Sprintf("backend = %q\n", backend))
	s.profile("mysql", articleProfile)
	s.wire = labtest.Wire(t, s.host)
	labtest.Listen(t, s.host, "tcp", "[::]:3306")
	return s
}

// articleProfile is the sequence of the article.
const articleProfile = "sequence = [\"icmp\", \"7/tcp\", \"8000/tcp\"]\nopen = [\"3306/tcp\"]\n"

// knock lets knocks come in, each as a new flow.
func (s *served) knock(src netip.Addr, knocks ...string) {
	s.t.Helper()
	for _, text := range knocks {
		k, err := format.ParseKnock(text)
		if err != nil {
			s.t.Fatal(err)
		}
		if err := s.wire.Inject(s.packet(src, k)); err != nil {
			s.t.Fatal(err)
		}
	}
}

func (s *served) packet(src netip.Addr, k protocol.Knock) []byte {
	if s.port++; s.port < 20000 {
		s.port = 20000
	}
	dest := s.host.Addr4
	if src.Is6() {
		dest = s.host.Addr6
	}
	switch k.Proto {
	case protocol.TCP:
		return lab.SYN(netip.AddrPortFrom(src, s.port), netip.AddrPortFrom(dest, k.Port))
	case protocol.UDP:
		return lab.UDP(netip.AddrPortFrom(src, s.port), netip.AddrPortFrom(dest, k.Port), []byte("x"))
	}
	return lab.Echo(src, dest, s.port, 1, nil)
}

// answers reports whether a connection to 3306/tcp gets an answer.
func (s *served) answers(src netip.Addr) bool {
	s.t.Helper()
	if _, err := s.wire.Drain(); err != nil {
		s.t.Fatal(err)
	}
	s.knock(src, "3306/tcp")
	raw, err := s.wire.Drain()
	if err != nil {
		s.t.Fatal(err)
	}
	for _, r := range raw {
		if p, err := lab.Parse(r); err == nil && p.Proto == protocol.TCP && p.Flags.Has(lab.FlagSYN|lab.FlagACK) && p.Dst == src {
			return true
		}
	}
	return false
}

// running is a program that runs on the site.
type running struct {
	s        *served
	cmd      *exec.Cmd
	out, log *safeBuffer
	wait     func() error
}

// start starts the program on the site.
func (s *served) start(args ...string) *running {
	s.t.Helper()
	r := &running{s: s, cmd: s.command(args...), out: &safeBuffer{}, log: &safeBuffer{}}
	r.cmd.Stdout, r.cmd.Stderr = r.out, r.log
	r.wait = labtest.Start(s.t, s.host, r.cmd)
	s.t.Cleanup(func() {
		if s.t.Failed() {
			s.t.Logf("%s said\n%s%s", strings.Join(args, " "), end(r.log), end(r.out))
		}
	})
	return r
}

// end is the last that a program has said.
func end(b *safeBuffer) string {
	text := b.String()
	return text[max(0, len(text)-4000):]
}

// run starts the service, and waits until it has installed and listens.
func (s *served) run(args ...string) *running {
	s.t.Helper()
	r := s.start(append([]string{"run"}, args...)...)
	r.logs("msg=installed")
	r.logs("role=")
	return r
}

// watch starts a plain watch, and waits until nothing can be missed any more.
func (s *served) watch(args ...string) *running {
	s.t.Helper()
	r := s.start(append([]string{"watch"}, args...)...)
	r.logs("watching: ")
	return r
}

// logs waits until the program has said text on standard error.
func (r *running) logs(text string) { r.s.t.Helper(); eventuallyHas(r.s.t, r.log, text, soon) }

// shows waits until the program has written text on standard output.
func (r *running) shows(text string, within time.Duration) {
	r.s.t.Helper()
	eventuallyHas(r.s.t, r.out, text, within)
}

func eventuallyHas(t *testing.T, b *safeBuffer, text string, within time.Duration) {
	t.Helper()
	labtest.Eventually(t, within, func() error {
		if !strings.Contains(b.String(), text) {
			return fmt.Errorf("it has not said %q", text)
		}
		return nil
	})
}

// stop ends the program as systemd does, and returns its exit code.
func (r *running) stop() int {
	r.s.t.Helper()
	if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		r.s.t.Fatal(err)
	}
	_ = r.wait() // the code says it
	return r.cmd.ProcessState.ExitCode()
}

// eventually waits until f is true.
func (s *served) eventually(what string, within time.Duration, f func() bool) {
	s.t.Helper()
	labtest.Eventually(s.t, within, func() error {
		if f() {
			return nil
		}
		return fmt.Errorf("not yet: %s", what)
	})
}
