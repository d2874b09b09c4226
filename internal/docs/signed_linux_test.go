package docs

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
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
)

const signedPage = "docs/signed.md"

func signedBlocks(t *testing.T, language string) []Block {
	t.Helper()
	return only(blocks(t, signedPage, "sh", "text", "nft", "python"), language)
}

func TestTheRulesOnThePageOfSignedProfilesAreThoseOfTheExample(t *testing.T) {
	labtest.Need(t, "nft")
	b, _, err := server.OpenBackend(t.Context(), "nftables")
	if err != nil {
		t.Fatal(err)
	}
	texts, err := server.New(b, server.DefaultSettings()).Render([]*protocol.Profile{example(t, "admin-signed")})
	if err != nil {
		t.Fatal(err)
	}
	var rules strings.Builder
	for _, text := range texts {
		rules.WriteString(text.Text)
	}
	excerpts := signedBlocks(t, "nft")
	if len(excerpts) != 1 {
		t.Fatalf("the page has %d excerpts of rules, want 1", len(excerpts))
	}
	for line := range strings.Lines(excerpts[0].Text) {
		if !strings.Contains(rules.String(), "\t"+line) {
			t.Errorf("the example does not become the rule\n%s", line)
		}
	}
}

// python writes the page's program into a folder and returns the file.
func python(t *testing.T) string {
	t.Helper()
	labtest.Need(t, "python3")
	programs := signedBlocks(t, "python")
	if len(programs) != 1 || programs[0].About != "knock.py" {
		t.Fatalf("the page has %d programs, want one, knock.py", len(programs))
	}
	file := filepath.Join(t.TempDir(), "knock.py")
	if err := os.WriteFile(file, []byte(programs[0].Text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// The page's vectors are what Go makes, and what the page's program makes: neither knows the other.
func TestTheTokensOnThePageAreThoseOfBothPrograms(t *testing.T) {
	labtest.NeedRoot(t)
	file := python(t)
	_, table, _ := strings.Cut(read(t, filepath.Join(root, signedPage)), "| secret | profile | audience | slot | index | token |\n|---|---|---|---|---|---|\n")
	table, _, _ = strings.Cut(table, "\n\n")
	script, want := "import knock\n", ""
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.Trim(line, "| \n"), " | ")
		if len(cells) != 6 {
			t.Fatalf("%q is no row of six cells", line)
		}
		key := protocol.Key{Profile: cells[1], Audience: cells[2]}
		if cells[0] == "00 … 1f" {
			for i := range key.Secret {
				key.Secret[i] = byte(i)
			}
		} else if cells[0] != "32 × 00" {
			t.Fatalf("the secret %q is none that the test knows", cells[0])
		}
		slot, err := strconv.ParseInt(cells[3], 10, 64)
		index, indexErr := strconv.Atoi(cells[4])
		if err != nil || indexErr != nil {
			t.Fatal(line, err, indexErr)
		}
		token := key.Token(slot, index)
		if got := "`" + hex.EncodeToString(token[:]) + "`"; got != cells[5] {
			t.Errorf("the token of this row is %s:\n%s", got, line)
		}
		script += fmt.Sprintf("print(knock.token(bytes.fromhex('%x'), %q, %q, %d, %d).hex())\n", key.Secret, key.Profile, key.Audience, slot, index)
		want += hex.EncodeToString(token[:]) + "\n"
	}
	if rows := strings.Count(want, "\n"); rows < 6 {
		t.Errorf("the page has %d rows: some are lost", rows)
	}
	h := labtest.NewHost(t, "laptop")
	if got := labtest.MustRun(t, h, "", "env", "PYTHONPATH="+filepath.Dir(file), "PYTHONDONTWRITEBYTECODE=1", "python3", "-c", script); got != want {
		t.Errorf("the page's program makes\n%s\nnot\n%s", got, want)
	}
}

// The page's program sends each address of a link a packet, with a token of the key that nobody else got.
func TestThePacketsOfThePagesProgramCarryTokensOfTheKey(t *testing.T) {
	labtest.NeedRoot(t)
	labtest.NeedTUN(t)
	file := python(t)
	for _, carrier := range []string{"icmp", "40123/udp"} {
		t.Run(carrier, func(t *testing.T) {
			h := labtest.NewHost(t, "laptop")
			w := labtest.Wire(t, h)
			key, link := linkOf(t, carrier, w.Peer4.String(), w.Peer6.String())
			before := protocol.Slot(time.Now())
			labtest.MustRun(t, h, link+"\n", "python3", file)
			after := protocol.Slot(time.Now())
			tokens := map[string]bool{}
			for slot := before; slot <= after; slot++ {
				for index := range protocol.Indexes {
					token := key.Token(slot, index)
					tokens[string(token[:])] = true
				}
			}
			for _, to := range []netip.Addr{w.Peer4, w.Peer6} {
				payload := payloadTo(t, w, to, carrier)
				if !tokens[payload] {
					t.Errorf("the packet to %s carries %x, which is no token of the key, or was sent before", to, payload)
				}
				delete(tokens, payload)
			}
		})
	}
}

// linkOf returns a key, and the link of a profile that it opens.
func linkOf(t *testing.T, carrier string, hosts ...string) (protocol.Key, string) {
	t.Helper()
	k, err := format.ParseKnock(carrier)
	if err != nil {
		t.Fatal(err)
	}
	p := example(t, "admin-signed")
	p.Hosts, p.Signed.Carrier = hosts, k
	key := &format.KeyFile{Key: protocol.Key{Profile: p.Name, User: "alice-laptop", Audience: "db1", Secret: [protocol.KeySize]byte{0xfb, 0xff, 31: 1}}}
	link, err := format.Link(p, key)
	if err != nil {
		t.Fatal(err)
	}
	return key.Key, link
}

// payloadTo waits for the knock that the host sends to an address, and returns what it carries.
func payloadTo(t *testing.T, w *lab.Wire, to netip.Addr, carrier string) string {
	t.Helper()
	for {
		packet, err := w.Next(10 * time.Second)
		if err != nil {
			t.Fatalf("no packet to %s: %v", to, err)
		}
		p, err := lab.Parse(packet)
		if err != nil || p.Dst != to {
			continue // the kernel's own
		}
		if echo := p.Proto == protocol.ICMP && (p.ICMPType == 8 || p.ICMPType == 128); echo != (carrier == "icmp") || !echo && p.DstPort != 40123 {
			t.Fatalf("the packet is %s", p)
		}
		return string(p.Payload)
	}
}

func TestThePagesProgramRefusesALinkThatWasCut(t *testing.T) {
	labtest.NeedRoot(t)
	file, h := python(t), labtest.NewHost(t, "laptop")
	_, link := linkOf(t, "icmp", "127.0.0.1")
	for _, cut := range []string{link[:len(link)-1], link[:60], link[1:], "", strings.Replace(link, "127.0.0.1", "127.0.0.2", 1)} {
		if out := labtest.Run(t, h, cut, "python3", file); out.Code != 1 || strings.Contains(out.Stderr, "Traceback") {
			t.Errorf("%q: exit %d\n%s", cut, out.Code, out.Stderr)
		}
	}
}

func TestTheLinkOnThePageOfSignedProfilesIsRead(t *testing.T) {
	for _, b := range signedBlocks(t, "text") {
		if _, err := format.ParseLink(strings.TrimSpace(b.Text)); err != nil {
			t.Errorf("%s%v", b.Text, err)
		}
	}
}

// newKeeper returns a reader whose systemctl runs the service, and whose server has something on port 22.
func newKeeper(t *testing.T) *reader {
	r := installed(t)
	labtest.Need(t, "nft")
	l := labtest.Listen(t, r.server, "tcp", "[::]:22")
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // the test is over
			}
			c.Close()
		}
	}()
	r.stub("ssh", `shift; [ $# -gt 0 ] || set -- echo in; exec "$@"`)
	pid := filepath.Join(r.dir, "service.pid")
	r.stub("systemctl", fmt.Sprintf(`case "$1" in
enable | start) knockd run < /dev/null >> %[1]s.log 2>&1 & echo $! > %[1]s ;;
stop) kill "$(cat %[1]s)"; while kill -0 "$(cat %[1]s)" 2> /dev/null; do sleep 0.05; done; rm %[1]s ;;
*) exit 9 ;;
esac`, pid))
	t.Cleanup(func() {
		endService(t, pid)
		if t.Failed() {
			t.Log(r.log())
		}
	})
	return r
}

// endService ends the process whose number a file has, if there is the file, and waits until it is gone:
// it writes its state at its end.
func endService(t *testing.T, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		return // it was never started, or has been stopped
	}
	id, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || id < 2 {
		t.Fatalf("%s: %q is no process", file, text)
	}
	labtest.Eventually(t, 20*time.Second, func() error {
		if err := syscall.Kill(id, syscall.SIGTERM); !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("the service is still there: %v", err)
		}
		return nil
	})
}

// log is what the service has said.
func (r *reader) log() string {
	text, _ := os.ReadFile(filepath.Join(r.dir, "service.pid.log"))
	return string(text)
}

// onServer types commands on the server; links go to the folder of the test.
func (r *reader) onServer(command string) string {
	r.t.Helper()
	command = strings.NewReplacer("/var/lib/knockd", "/etc/knockd/state", "--out ", "--out "+r.dir+"/").Replace(command)
	return r.run(r.server, Block{Text: command + "\n"})
}

// port22 waits until port 22 of the server answers the laptop, or does not.
func (r *reader) port22(open bool) {
	r.t.Helper()
	labtest.Eventually(r.t, 20*time.Second, func() error { return r.dials22(open) })
}

func (r *reader) dials22(open bool) error {
	ctx, cancel := context.WithTimeout(r.t.Context(), 700*time.Millisecond)
	defer cancel()
	c, err := r.laptop.Dial(ctx, "tcp", netip.AddrPortFrom(r.server.Addr4, 22).String())
	if err == nil {
		err = c.Close()
	}
	if (err == nil) != open {
		return fmt.Errorf("port 22 answers the laptop: %v, want %v", err == nil, open)
	}
	return nil
}

// knocks types a block on the laptop until it succeeds: the gate may be shut for up to a minute.
func (r *reader) knocks(b Block) (said string) {
	r.t.Helper()
	cmd := r.command(b)
	labtest.Eventually(r.t, 3*time.Minute, func() error {
		out := labtest.Run(r.t, r.laptop, "", cmd.Args[0], cmd.Args[1:]...)
		if said = out.Stdout + out.Stderr; out.Code != 0 {
			return fmt.Errorf("exit %d\n%s", out.Code, said)
		}
		return nil
	})
	return said
}

// TestTheStepsOfThePageOfSignedProfilesLeadToOneWhoMayKnock types each block where it says; then the
// page's program knocks, and the server's clock turns out to have been wrong.
func TestTheStepsOfThePageOfSignedProfilesLeadToOneWhoMayKnock(t *testing.T) {
	t.Parallel()
	file := python(t)
	r := newKeeper(t)
	var reset Block
	steps := 0
	for _, b := range signedBlocks(t, "sh") {
		switch place, state, _ := strings.Cut(b.About, " "); {
		case state == "reset":
			reset = b
			continue
		case place == "server":
			r.onServer(b.Text)
			r.port22(state == "open")
		case place == "laptop" && strings.HasPrefix(b.Text, "knock "):
			if said := r.knocks(b); !strings.Contains(said, "in\n") {
				t.Errorf("the command after -- did not run:\n%s", said)
			}
			r.port22(true)
		case place == "laptop":
			r.laptops(b.Text)
			r.port22(true)
		default:
			t.Fatalf("a block is for %q, which is nowhere:\n%s", b.About, b.Text)
		}
		steps++
	}
	if steps < 4 || reset.Text == "" {
		t.Fatalf("the page has %d steps: some are lost", steps)
	}
	if said := r.onServer("knockd status"); !strings.Contains(said, "alice-laptop") {
		t.Errorf("status does not say who came:\n%s", said)
	}

	r.onServer("systemctl stop knockd\nsudo nft flush set inet knockd spent\nsudo knockd revoke admin --all")
	state := filepath.Join(r.dir, "etc/knockd/state/signed.json")
	if err := os.WriteFile(state, fmt.Appendf(nil, `{"slot": %d}`, protocol.Slot(time.Now().Add(24*time.Hour))), 0o600); err != nil {
		t.Fatal(err)
	}
	was := len(r.log())
	r.onServer("systemctl start knockd")
	labtest.Eventually(t, 20*time.Second, func() error {
		if !strings.Contains(r.log()[was:], "docs/signed.md") {
			return errors.New("the log does not say that the clock was wrong")
		}
		return nil
	})
	r.onServer(reset.Text)
	r.port22(false)
	r.laptops("knock enroll --force - < " + filepath.Join(r.dir, "alice-laptop.link"))
	r.knocks(Block{Text: "knock admin\n"})
	r.port22(true)

	r.onServer("sudo knockd revoke admin --all")
	r.port22(false)
	labtest.Eventually(t, 30*time.Second, func() error { // it may take the index that knock has used
		r.laptops("python3 " + file + " < " + filepath.Join(r.dir, "alice-laptop.link"))
		return r.dials22(true)
	})
}
