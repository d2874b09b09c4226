package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"knockkit/internal/command"
	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
	"knockkit/protocol"
	"knockkit/protocol/format"
	"knockkit/server"
)

// signedProfile opens the port of greet for a token in a packet of the carrier.
func signedProfile(carrier, more string) string {
	return fmt.Sprintf("signed = { carrier = %q }\nopen = [\"2222/tcp\"]\n%s", carrier, more)
}

// aliceKey is of the profile that the server calls ssh.
func aliceKey() *format.KeyFile {
	return &format.KeyFile{Key: protocol.Key{Profile: "ssh", User: "alice", Audience: "db1", Secret: [protocol.KeySize]byte{1, 2, 3}}}
}

// hasKey gives the laptop a key for the profile.
func (l *laptop) hasKey(profile string, k *format.KeyFile) {
	l.t.Helper()
	if err := os.MkdirAll(filepath.Join(l.config, "keys"), 0o700); err != nil {
		l.t.Fatal(err)
	}
	l.write(filepath.Join("keys", profile+".key"), string(format.KeyFileText(k)))
}

// newSigned returns a laptop with the signed profile "ssh" and its key, beside a server.
func newSigned(t *testing.T, carrier, more string) (l *laptop, far *lab.Host, link *lab.Link) {
	t.Helper()
	far, near := labtest.NewHost(t, "server"), labtest.NewHost(t, "laptop")
	link = labtest.Connect(t, far, near, lab.Conditions{})
	l = newLaptop(t, near, map[string]string{"ssh": signedProfile(carrier, more)})
	l.hasKey("ssh", aliceKey())
	return l, far, link
}

// made is what a token was made of.
type made struct {
	slot  int64
	index int
}

// tokens returns what the tokens were made of in the packets that the laptop sent in the carrier.
func (l *laptop) tokens(tap *lab.Tap, carrier string) (all []made) {
	l.t.Helper()
	now := protocol.Slot(time.Now())
	for _, p := range parsed(l.t, tap, l.host) {
		k, rest, size := protocol.Knock{Proto: p.Proto, Port: p.DstPort}, "", protocol.TokenSize
		if p.Proto == protocol.ICMP {
			if p.ICMPType != 8 && p.ICMPType != 128 { // neighbour discovery
				continue
			}
			k.Port, size = 0, 56
			for i := protocol.TokenSize; i < size; i++ {
				rest += string(rune(i)) // as ping has it
			}
		}
		if k.String() != carrier {
			continue
		}
		if len(p.Payload) != size || string(p.Payload[protocol.TokenSize:]) != rest {
			l.t.Fatalf("%s: the payload is %x, want a token and %q", p, p.Payload, rest)
		}
		found := false
		for slot := now - 2; slot <= now; slot++ { // the packet left a while ago
			for i := range protocol.Indexes {
				if token := aliceKey().Token(slot, i); string(token[:]) == string(p.Payload[:protocol.TokenSize]) {
					all, found = append(all, made{slot, i}), true
				}
			}
		}
		if !found {
			l.t.Fatalf("%s: the payload begins with no token of now", p)
		}
	}
	return all
}

func TestASignedKnockIsOnePacketWithATokenOfNow(t *testing.T) {
	for _, carrier := range []string{"icmp", "40123/udp"} {
		for _, raw := range []bool{false, true} {
			if raw && carrier != "icmp" {
				continue
			}
			t.Run(fmt.Sprintf("%s, raw socket %v", carrier, raw), func(t *testing.T) {
				l, far, link := newSigned(t, carrier, "client = { attempts = 1 }\n")
				if raw {
					labtest.NeedRoot(t)
					if err := l.host.Sysctl("ipv4/ping_group_range", "1 0"); err != nil {
						t.Fatal(err)
					}
				}
				labtest.Listen(t, far, "tcp", ":2222")
				seen := map[made]bool{}
				for _, to := range []string{far.Addr4.String(), far.Addr6.String()} {
					tap := link.Tap(1000)
					if p, code := l.run("ssh@" + to); code != 0 {
						t.Fatalf("exit %d\n%s", code, p.stderr)
					}
					all := l.tokens(tap, carrier)
					if len(all) != 1 || seen[all[0]] {
						t.Fatalf("%v after %v, want one packet with another token", all, seen)
					}
					seen[all[0]] = true
				}
			})
		}
	}
}

func TestEachAttemptOfASignedKnockTakesAnotherToken(t *testing.T) {
	l, far, link := newSigned(t, "40123/udp", "closed = \"reject\"\n") // nothing listens there
	tap := link.Tap(1000)
	p, code := l.run("ssh@"+far.Addr4.String(), "-v")
	if code != command.NotOpen {
		t.Errorf("exit %d, want %d\n%s", code, command.NotOpen, p.stderr)
	}
	seen := map[made]bool{}
	for _, m := range l.tokens(tap, "40123/udp") {
		seen[m] = true
		words := fmt.Sprintf("signed knock: 40123/udp, user alice, audience db1, slot %d, which begins at ", m.slot)
		if err := p.stderr.says(words); err != nil {
			t.Error(err)
		}
	}
	if len(seen) != 3 {
		t.Errorf("%v, want a token for each of three attempts", seen)
	}
	for _, words := range []string{
		"knock: hint: the gate rejects, as this profile says, so perhaps the clock here or there is wrong: this machine has " + time.Now().UTC().Format(time.DateOnly),
		"or the server's service is stopped",
		"or the key was removed or disabled there",
	} {
		if err := p.stderr.says(words); err != nil {
			t.Error(err)
		}
	}
	l.noSecret(p)
}

// noSecret fails if the program has said the key or a token of now.
func (l *laptop) noSecret(p *program) {
	l.t.Helper()
	said := p.stdout.String() + p.stderr.String()
	secrets := []string{format.KeyText(aliceKey().Secret), fmt.Sprintf("%x", aliceKey().Secret)}
	now := protocol.Slot(time.Now())
	for slot := now - 3; slot <= now; slot++ {
		for i := range protocol.Indexes {
			secrets = append(secrets, fmt.Sprintf("%x", aliceKey().Token(slot, i)))
		}
	}
	for _, secret := range secrets {
		if strings.Contains(said, secret) {
			l.t.Errorf("a secret is in what it says:\n%s", said)
		}
	}
}

func TestTenKnocksAtOnceSendTenTokensAndTwoWaitForTheNextSlot(t *testing.T) {
	l, far, link := newSigned(t, "40123/udp", "client = { verify = false }\n")
	tap := link.Tap(1000)
	var said [10]*program
	var codes [10]int
	var all sync.WaitGroup
	for i := range said {
		all.Go(func() { said[i], codes[i] = l.run("ssh@" + far.Addr4.String()) })
	}
	all.Wait()
	seen, slots, waited := map[made]bool{}, map[int64]int{}, 0
	for _, m := range l.tokens(tap, "40123/udp") { // each is sent twice
		if !seen[m] {
			slots[m.slot]++
		}
		seen[m] = true
	}
	for i, p := range said {
		if codes[i] != 0 {
			t.Errorf("exit %d\n%s", codes[i], p.stderr)
		}
		if strings.Contains(p.stderr.String(), "all 8 tokens of alice for this half minute are used: waiting for the next, until ") {
			waited++
		}
	}
	if len(seen) != len(said) {
		t.Errorf("%d tokens in %d knocks", len(seen), len(said))
	}
	full := 0
	for slot, n := range slots {
		if n > protocol.Indexes {
			t.Errorf("%d tokens of slot %d", n, slot)
		}
		if n == protocol.Indexes {
			full++
		}
	}
	if want := 2 * full; waited != want { // none where the ten began in two slots
		t.Errorf("%d knocks waited, want %d: the tokens are of %v", waited, want, slots)
	}
}

func TestAWaitForTokensEndsWithTheTimeout(t *testing.T) {
	l, far, link := newSigned(t, "icmp", "")
	var used []string
	now := protocol.Slot(time.Now())
	for slot := now; slot < now+10; slot++ {
		used = append(used, fmt.Sprintf(`{"slot":%d,"indexes":255}`, slot))
	}
	file := filepath.Join(l.config, ".local/state/knock/tokens", aliceKey().ID()+".json")
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("["+strings.Join(used, ",")+"]"), 0o600); err != nil {
		t.Fatal(err)
	}
	tap := link.Tap(1000)
	p, code := l.run("ssh@"+far.Addr4.String(), "--timeout", "300ms")
	if code != command.Failed {
		t.Errorf("exit %d, want %d", code, command.Failed)
	}
	for _, words := range []string{
		"knock: ssh: all 8 tokens of alice for this half minute are used: waiting for the next, until ", " UTC (",
		"knock: error: no knock was sent to " + far.Addr4.String() + " in the time of --timeout",
	} {
		if err := p.stderr.says(words); err != nil {
			t.Error(err)
		}
	}
	if all := l.tokens(tap, "icmp"); len(all) != 0 {
		t.Errorf("%d tokens were sent", len(all))
	}
}

func TestWhereUsedTokensCannotBeKeptItKnocksAllTheSame(t *testing.T) {
	l, far, link := newSigned(t, "icmp", "client = { attempts = 1 }\n")
	labtest.Listen(t, far, "tcp", ":2222")
	if err := os.WriteFile(filepath.Join(l.config, ".local"), nil, 0o600); err != nil { // in the folder's place
		t.Fatal(err)
	}
	tap := link.Tap(1000)
	p, code := l.run("ssh@" + far.Addr4.String())
	if code != 0 || strings.Contains(p.stderr.String(), "not kept") {
		t.Errorf("exit %d\n%s", code, p.stderr)
	}
	if p, code = l.run("ssh@"+far.Addr4.String(), "-v"); code != 0 {
		t.Errorf("exit %d\n%s", code, p.stderr)
	}
	if err := p.stderr.says("which tokens were used is not kept for other knocks from here: "); err != nil {
		t.Error(err)
	}
	if all := l.tokens(tap, "icmp"); len(all) != 2 {
		t.Errorf("%v, want two tokens", all)
	}
}

// signedGate installs the profile "ssh" on a host, and lets the key open it at once.
func signedGate(t *testing.T, h *lab.Host, text string) *gatedHost {
	t.Helper()
	labtest.NeedRoot(t)
	labtest.Need(t, "nft")
	p, diagnostics := format.ParseProfile("ssh.toml", []byte(text))
	if diagnostics.HasErrors() {
		t.Fatal(diagnostics)
	}
	b, _, err := server.OpenBackend(t.Context(), "nftables")
	if err != nil {
		t.Fatal(err)
	}
	g := &gatedHost{profile: p, t: t, host: h, srv: server.New(b, server.DefaultSettings())}
	g.do(func() error {
		_, err := g.srv.Install(t.Context(), []*protocol.Profile{p}, server.InstallOptions{})
		return err
	})
	g.refresh([]string{aliceKey().ID()})
	// As the service does; the test may come into another slot.
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-time.After(time.Until(protocol.SlotStart(protocol.Slot(time.Now()) + 1))):
				g.refresh(nil)
			case <-ctx.Done():
				return
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return g
}

func (g *gatedHost) refresh(fresh []string) {
	if err := g.host.Do(func() error {
		_, err := g.srv.RefreshKeys(context.Background(), server.KeyRefresh{Now: time.Now(), Keys: []protocol.Key{aliceKey().Key}, Fresh: fresh})
		return err
	}); err != nil {
		g.t.Error(err)
	}
}

func TestASignedKnockOpensARealGate(t *testing.T) {
	for _, carrier := range []string{"icmp", "40123/udp"} {
		t.Run(carrier, func(t *testing.T) {
			l, far, _ := newSigned(t, carrier, "")
			g := signedGate(t, far, signedProfile(carrier, ""))
			go greet(labtest.Listen(t, far, "tcp", ":2222"))
			four, six := far.Addr4.String(), far.Addr6.String()
			for _, to := range []string{four, six, four} { // another token each time
				p, code := l.run("ssh@"+to, "--", "sh", "-c", "echo at $KNOCK_ADDR")
				if code != 0 || p.stdout.String() != "at "+to+"\n" {
					t.Fatalf("exit %d %s\n%s", code, p.stdout, p.stderr)
				}
				if strings.Contains(p.stderr.String(), "attempts") {
					t.Errorf("it took several: %s", p.stderr)
				}
			}
			p, code := l.run("ssh", "--host", four, "--host", six, "--each", "--", "echo", "{}")
			if code != 0 || !strings.Contains(p.stdout.String(), four) || !strings.Contains(p.stdout.String(), six) {
				t.Errorf("exit %d %s\n%s", code, p.stdout, p.stderr)
			}
			g.revoke(l.host.Addr4)
			in, input, err := os.Pipe() // never ends
			if err != nil {
				t.Fatal(err)
			}
			defer in.Close()
			defer input.Close()
			p = l.startWith(in, "proxy", "ssh", far.Addr4.String(), "2222")
			labtest.Eventually(t, time.Minute, func() error { return p.stdout.says("hello") })
			_ = p.cmd.Process.Kill()
			_ = p.wait()
			g.revoke(l.host.Addr4)
			f := l.start("forward", "ssh@"+far.Addr4.String(), "127.0.0.1:12222")
			labtest.Eventually(t, 10*time.Second, func() error { return f.stderr.says("listens for") })
			c, err := l.host.Dial(t.Context(), "tcp", "127.0.0.1:12222")
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, err := io.ReadFull(c, make([]byte, len("hello"))); err != nil {
				t.Fatalf("%v\n%s", err, f.stderr)
			}
			f.end(t)
			if p, code := l.run("status"); code != 0 || !strings.Contains(p.stdout.String(), far.Addr6.String()) {
				t.Errorf("exit %d\n%s%s", code, p.stdout, p.stderr)
			}
		})
	}
}

func TestAKnockWithARemovedKeySaysWhatMayBeWrong(t *testing.T) {
	l, far, _ := newSigned(t, "icmp", "")
	signedGate(t, far, signedProfile("icmp", ""))
	removed := aliceKey()
	removed.Secret[0]++
	l.hasKey("ssh", removed)
	p, code := l.run("ssh@" + far.Addr4.String())
	if code != command.NotOpen {
		t.Errorf("exit %d, want %d", code, command.NotOpen)
	}
	said := p.stderr.String()
	for _, words := range []string{ // in this order
		"did not open: 2222/tcp of " + far.Addr4.String() + ": no reply",
		"the host is there (it answered every knock",
		"perhaps the clock here or there is wrong: this machine has " + time.Now().UTC().Format(time.DateOnly),
		"or the server's service is stopped, or began less than a minute ago",
		"or the key was removed or disabled there, or has expired",
	} {
		_, after, found := strings.Cut(said, words)
		if !found {
			t.Errorf("%q is not, or not here, in:\n%s", words, p.stderr)
		}
		said = after
	}
	for _, words := range []string{"ban", "another client"} { // a wrong token is an ordinary packet
		if strings.Contains(p.stderr.String(), words) {
			t.Errorf("%q is in what it says:\n%s", words, p.stderr)
		}
	}
}

func TestWhatCannotBeCheckedIsSentTwiceAndOpensOnce(t *testing.T) {
	l, far, link := newSigned(t, "40123/udp", "once = true\n")
	signedGate(t, far, signedProfile("40123/udp", "once = true\n"))
	go greet(labtest.Listen(t, far, "tcp", ":2222"))
	link.Drop(func(from *lab.Host, packet []byte) bool { // what says that the knock has arrived, and nobody listens there
		p, err := lab.Parse(packet)
		return err == nil && from == far && p.Proto == protocol.ICMP && p.Src.Is4()
	})
	tap := link.Tap(1000)
	p, code := l.run("ssh@" + far.Addr4.String())
	if code != 0 || !strings.Contains(p.stderr.String(), " knocked after ") {
		t.Fatalf("exit %d\n%s", code, p.stderr)
	}
	all := l.tokens(tap, "40123/udp")
	if len(all) != 2 || all[0] != all[1] {
		t.Errorf("%v, want one token twice", all)
	}
	c, err := l.host.Dial(t.Context(), "tcp", far.Addr4.String()+":2222")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.ReadFull(c, make([]byte, len("hello"))); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if c, err := l.host.Dial(ctx, "tcp", far.Addr4.String()+":2222"); err == nil {
		c.Close()
		t.Error("it opened for a second connection")
	}
}
