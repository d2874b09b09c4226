package docs

import (
	"fmt"
	"slices"
	"testing"

	"knockkit/internal/kernel/backend"
	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
	"knockkit/protocol"
	"knockkit/protocol/format"
	"knockkit/server"
)

// A client that is no knock program, and what it is worth with which profile.
var knockers = map[string]struct {
	profile string
	others  string // another profile
	strict  bool
	client  string // on the laptop, with the ports 4611, 2104 and 3107
	opens   bool
}{
	"Test-NetConnection, strict": {
		profile: `sequence = ["4611/tcp", "2104/tcp", "3107/tcp"]`, strict: true, client: windows, opens: false,
	},
	"Test-NetConnection, not strict": {
		profile: `sequence = ["4611/tcp", "2104/tcp", "3107/tcp"]`, client: windows, opens: true,
	},
	"Test-NetConnection, not strict, and another profile knocks on icmp": {
		profile: `sequence = ["4611/tcp", "2104/tcp", "3107/tcp"]`, others: `sequence = ["9/tcp", "icmp"]`, client: windows, opens: false,
	},
	"Test-NetConnection, strict, with pings in the sequence": {
		profile: `sequence = ["4611/tcp", "icmp", "2104/tcp", "icmp", "3107/tcp"]`, strict: true, client: windows, opens: true,
	},
	"connections that are ended before the next": {
		profile: `sequence = ["4611/tcp", "2104/tcp", "3107/tcp"]`, strict: true, client: ended, opens: true,
	},
	"a connection that still waits, and knocks again": {
		profile: `sequence = ["4611/tcp", "2104/tcp", "3107/tcp"]`, strict: true, client: waiting, opens: false,
	},
	"connections that are rejected": {
		profile: "sequence = [\"4611/tcp\", \"2104/tcp\", \"3107/tcp\"]\nreply = \"reject\"", strict: true, client: rejected, opens: true,
	},
}

// connect waits for an answer as long as it may, and sends its SYN again after a second.
const connect = `connect() { timeout "$2" bash -c "exec 3<>/dev/tcp/$host/$1" 2>&1 || true; }
`

// windows is what Test-NetConnection sends to ports that do not answer.
const windows = connect + `for port in 4611 2104 3107; do connect $port 1.6; ping -c 1 -W 0.3 "$host" || true; done`

const ended = connect + `for port in 4611 2104 3107; do connect $port 1.6; done`

const waiting = connect + `(connect 4611 1.6) & connect 2104 0.5; wait; connect 3107 0.5`

const rejected = `for port in 4611 2104 3107; do
	said=$(bash -c "exec 3<>/dev/tcp/$host/$port" 2>&1) && exit 8
	case $said in *"Connection refused"*) ;; *) echo "$said"; exit 9 ;; esac
done`

// The server drops what is no knock, and answers no ping.
func TestWhatThePageSaysOfOtherKnockersIsSo(t *testing.T) {
	labtest.NeedRoot(t)
	labtest.Need(t, "iptables", "nft", "bash", "ping", "timeout")
	for _, name := range []string{"iptables", "nftables"} {
		for what, k := range knockers {
			t.Run(name+"/"+what, func(t *testing.T) {
				t.Parallel()
				srv, laptop := labtest.NewHost(t, "server"), labtest.NewHost(t, "laptop")
				labtest.Join(t, srv, laptop)
				labtest.MustRun(t, srv, "", "iptables", "-P", "INPUT", "DROP")
				s := install(t, srv, name, k.strict, k.profile, k.others)
				out := labtest.Run(t, laptop, "", "bash", "-c", fmt.Sprintf("host=%s\n%s", srv.Addr4, k.client))
				if out.Code != 0 {
					t.Fatalf("the client ends with %d: %s%s", out.Code, out.Stdout, out.Stderr)
				}
				if got := holds(t, srv, s, laptop); got != k.opens {
					t.Errorf("it opens: %v, want %v", got, k.opens)
				}
			})
		}
	}
}

// install puts profiles on a host: mysql, and others where there is one.
func install(t *testing.T, h *lab.Host, backendName string, strict bool, texts ...string) (s *server.Server) {
	t.Helper()
	var profiles []*protocol.Profile
	for i, text := range texts {
		if text == "" {
			continue
		}
		name := []string{"mysql", "others"}[i]
		p, diagnostics := format.ParseProfile(name+".toml", fmt.Appendf(nil, "%s\nopen = [\"%d/tcp\"]\n", text, 3306+i))
		if diagnostics.HasErrors() {
			t.Fatal(diagnostics)
		}
		profiles = append(profiles, p)
	}
	settings := server.DefaultSettings()
	settings.Policy.Strict = strict
	if err := h.Do(func() error {
		b, _, err := server.OpenBackend(t.Context(), backendName)
		if err != nil {
			return err
		}
		s = server.New(b, settings)
		_, err = s.Install(t.Context(), profiles, server.InstallOptions{})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return s
}

// holds reports whether the client has a lease for mysql.
func holds(t *testing.T, h *lab.Host, s *server.Server, client *lab.Host) bool {
	t.Helper()
	var st server.Status
	if err := h.Do(func() (err error) {
		st, err = s.Status(t.Context(), nil, nil)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(st.Sources, func(o backend.Source) bool {
		return o.Profile == "mysql" && o.State == backend.Open && o.Address.Contains(client.Addr4)
	})
}
