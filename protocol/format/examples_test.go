package format

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"knockkit/protocol"
)

func readExample(t *testing.T, name string) (*protocol.Profile, Diagnostics) {
	t.Helper()
	file := filepath.Join("..", "..", "examples", name+".toml")
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return ParseProfile(file, data)
}

func TestEveryExampleParsesAndOnlyTheArticlesAreWarnedAbout(t *testing.T) {
	files, err := filepath.Glob("../../examples/*.toml")
	if err != nil || len(files) < 6 {
		t.Fatalf("examples: %v, %v; want 6", files, err)
	}
	for _, file := range files {
		name := ProfileName(file)
		t.Run(name, func(t *testing.T) {
			p, ds := readExample(t, name)
			if ds.HasErrors() {
				t.Fatal(ds)
			}
			if p.Name != name || p.Description == "" || len(p.Hosts) == 0 {
				t.Errorf("an example shows a description and a host: %+v", p)
			}
			fromTheArticle := name == "mysql" || name == "mysql-classic"
			if warned := len(ds) > 0; warned != fromTheArticle {
				t.Errorf("warnings: %v", ds)
			}
		})
	}
}

func TestTheExampleMySQLIsTheOneOfTheDesign(t *testing.T) {
	p, ds := readExample(t, "mysql")
	if p == nil {
		t.Fatal(ds)
	}
	want := &protocol.Profile{
		Name: "mysql", Description: "MySQL on db1", Hosts: []string{"db1.example.com"}, Enabled: true,
		Sequence:   []protocol.Step{{Knock: protocol.Knock{Proto: protocol.ICMP}, Within: 0}, {Knock: protocol.Knock{Proto: protocol.TCP, Port: 7}, Within: 10 * time.Second}, {Knock: protocol.Knock{Proto: protocol.TCP, Port: 8000}, Within: 10 * time.Second}},
		Open:       []protocol.PortRange{{Proto: protocol.TCP, First: 3306, Last: 3306}},
		Lease:      time.Hour,
		PrefixIPv4: 32, PrefixIPv6: 128,
		Client: protocol.Client{Gap: 10 * time.Millisecond, Attempts: 3, Verify: true},
	}
	if diff := cmp.Diff(want, p); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestTheClassicExampleHasTheArticlesTimesAndAnswers(t *testing.T) {
	p, ds := readExample(t, "mysql-classic")
	if p == nil {
		t.Fatal(ds)
	}
	// The article: --rcheck without --seconds after the ping, --seconds 10 after
	// echo, and none at 3306; every right knock is accepted.
	want := []protocol.Step{{Knock: protocol.Knock{Proto: protocol.ICMP}, Within: 0}, {Knock: protocol.Knock{Proto: protocol.TCP, Port: 7}, Within: 0}, {Knock: protocol.Knock{Proto: protocol.TCP, Port: 8000}, Within: 10 * time.Second}}
	if !slices.Equal(p.Sequence, want) || p.Lease != 0 || p.Reply != protocol.ReplyAccept {
		t.Errorf("sequence %v, lease %v, reply %v", p.Sequence, p.Lease, p.Reply)
	}
}

func TestTheExamplesCanBeInstalledTogether(t *testing.T) {
	var profiles []*protocol.Profile
	for _, name := range []string{"mysql", "ssh", "wireguard", "admin-office", "admin-signed"} {
		p, ds := readExample(t, name)
		if p == nil {
			t.Fatal(ds)
		}
		profiles = append(profiles, p)
	}
	if errs := protocol.CheckTogether(profiles); len(errs) > 0 {
		t.Error(errs)
	}
	for _, f := range protocol.Families() {
		if _, err := protocol.Compile(profiles, f); err != nil {
			t.Error(err)
		}
	}
}
