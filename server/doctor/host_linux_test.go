package doctor_test

import (
	"errors"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
	"knockkit/protocol"
	"knockkit/protocol/format"
	"knockkit/server"
	"knockkit/server/doctor"
)

func TestMain(m *testing.M) { labtest.Main(m) }

// patient is a host with a profile installed, and a stranger beside it.
type patient struct {
	t        *testing.T
	host     *lab.Host
	stranger *lab.Host
	settings server.Settings
	files    []*protocol.Profile
	folder   string           // with keys; "": there is none
	found    []doctor.Finding // of the last examination; nil: something has changed since
}

// admit makes a patient with nothing installed.
func admit(t *testing.T, backend string) *patient {
	t.Helper()
	labtest.NeedRoot(t)
	labtest.Need(t, "iptables-nft-restore", "iptables-legacy-restore", "nft")
	p := &patient{t: t, host: labtest.NewHost(t, "server"), stranger: labtest.NewHost(t, "stranger"), settings: server.DefaultSettings()}
	labtest.Join(t, p.host, p.stranger)
	p.settings.Backend = backend
	return p
}

// eachBackend admits a patient with iptables-nft, iptables-legacy and nftables.
func eachBackend(t *testing.T, f func(t *testing.T, p *patient)) {
	t.Helper()
	labtest.NeedRoot(t)
	labtest.Need(t, "iptables-nft-restore", "iptables-legacy-restore", "nft")
	for _, flavour := range lab.Flavours() {
		t.Run(flavour.Name, func(t *testing.T) {
			use(t, flavour)
			f(t, admit(t, "iptables"))
		})
	}
	t.Run("nftables", func(t *testing.T) { f(t, admit(t, "nftables")) })
}

// use makes a flavour the host's iptables.
func use(t *testing.T, f lab.Flavour) {
	t.Helper()
	t.Setenv("PATH", labtest.PathOf(t, f)+":"+os.Getenv("PATH"))
}

// mysql is a profile with more keys.
func mysql(t *testing.T, more string) *protocol.Profile {
	return profile(t, "mysql", "sequence = [\"icmp\", \"7421/tcp\", \"3190/udp\"]\nopen = [\"3306/tcp\"]\n"+more)
}

func profile(t *testing.T, name, text string) *protocol.Profile {
	t.Helper()
	p, diagnostics := format.ParseProfile(name+".toml", []byte(text))
	if diagnostics.HasErrors() {
		t.Fatal(diagnostics)
	}
	return p
}

// install brings profiles in, and makes them the files.
func (p *patient) install(profiles ...*protocol.Profile) {
	p.t.Helper()
	p.files, p.found = append(p.files, profiles...), nil
	if err := p.host.Do(func() error {
		b, _, err := server.OpenBackend(p.t.Context(), p.settings.Backend)
		if err != nil {
			return err
		}
		_, err = server.New(b, p.settings).Install(p.t.Context(), profiles, server.InstallOptions{})
		return err
	}); err != nil {
		p.t.Fatal(err)
	}
}

// sh runs command lines on the host, each split at blanks.
func (p *patient) sh(lines ...string) {
	p.t.Helper()
	p.found = nil
	for _, line := range lines {
		words := strings.Fields(line)
		labtest.MustRun(p.t, p.host, "", words[0], words[1:]...)
	}
}

// nft feeds a text to nft.
func (p *patient) nft(text string) {
	p.t.Helper()
	p.found = nil
	labtest.MustRun(p.t, p.host, text, "nft", "-f", "-")
}

// examine looks anew after every change that the patient's methods make.
func (p *patient) examine() []doctor.Finding {
	p.t.Helper()
	if p.found != nil {
		return p.found
	}
	var found []doctor.Finding
	if err := p.host.Do(func() (err error) {
		found, err = doctor.Examine(p.t.Context(), doctor.Input{Folder: p.folder, Settings: p.settings, Files: p.files})
		return err
	}); err != nil {
		p.t.Fatal(err)
	}
	for i := 1; i < len(found); i++ {
		if rank(found[i-1].Severity) > rank(found[i].Severity) {
			p.t.Errorf("%s comes before %s", found[i-1].Severity, found[i].Severity)
		}
	}
	p.found = found
	return found
}

func rank(s doctor.Severity) int {
	return slices.Index([]doctor.Severity{doctor.Broken, doctor.Warning, doctor.Note, doctor.OK}, s)
}

// finds fails unless there is a finding of that kind whose Found has all the parts.
// Whatever is not ok has to say why.
func (p *patient) finds(id string, severity doctor.Severity, parts ...string) {
	p.t.Helper()
	found := p.examine()
next:
	for _, f := range found {
		if f.ID != id || f.Severity != severity {
			continue
		}
		for _, part := range parts {
			if !strings.Contains(f.Found, part) {
				continue next
			}
		}
		if severity != doctor.OK && f.Why == "" || (severity == doctor.Broken || severity == doctor.Warning) && f.Todo == "" {
			p.t.Errorf("%+v does not say why, or what to do", f)
		}
		return
	}
	p.t.Errorf("no finding %s %s with %q, but:\n%s", severity, id, parts, list(found))
}

// findsNo fails if there is any finding of that kind that is worse than ok.
func (p *patient) findsNo(id string) {
	p.t.Helper()
	for _, f := range p.examine() {
		if f.ID == id && f.Severity != doctor.OK {
			p.t.Errorf("found %+v", f)
		}
	}
}

func list(found []doctor.Finding) string {
	var lines []string
	for _, f := range found {
		lines = append(lines, string(f.Severity)+" "+f.ID+": "+f.Found)
	}
	return strings.Join(lines, "\n")
}

// The answers of connects.
const (
	open    = "open"
	refused = "refused"
	silent  = "silent"
)

// connects says what the stranger's connection to a TCP port of the host gets.
func (p *patient) connects(network, address string) string {
	p.t.Helper()
	answer := open
	if err := p.stranger.Do(func() error {
		c, err := (&net.Dialer{Timeout: 300 * time.Millisecond}).DialContext(p.t.Context(), network, address)
		switch {
		case errors.Is(err, syscall.ECONNREFUSED):
			answer = refused
		case err != nil:
			answer = silent
		default:
			return c.Close()
		}
		return nil
	}); err != nil {
		p.t.Fatal(err)
	}
	return answer
}

// expect fails unless the stranger's connection to 3306/tcp gets the answer, over IPv4.
func (p *patient) expect(answer string) {
	p.t.Helper()
	if got := p.connects("tcp4", net.JoinHostPort(p.host.Addr4.String(), "3306")); got != answer {
		p.t.Errorf("a stranger's connection is %s, not %s", got, answer)
	}
}

// serve lets something answer on 3306/tcp, over both families.
func (p *patient) serve() {
	p.t.Helper()
	p.found = nil
	labtest.Listen(p.t, p.host, "tcp", "[::]:3306")
}
