package server

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"knockkit/internal/tomldoc"
	"knockkit/protocol"
	"knockkit/protocol/format"
)

// Settings is knockd.toml: what concerns the server as a whole.
type Settings struct {
	Backend string // "auto", "iptables" or "nftables"
	Policy  protocol.Policy
	Metrics netip.AddrPort // where the service shows its metrics; the zero value: nowhere

	// Audience is the name that the server goes by in tokens of signed profiles, in a fleet its name; "": the
	// host's name.
	Audience string
	Fleet    *Fleet // nil: the server is in none
}

// DefaultSettings are those of an empty knockd.toml.
func DefaultSettings() Settings {
	return Settings{Backend: "auto", Policy: protocol.Policy{Strict: true}}
}

// Backends are the values of the setting `backend`.
func Backends() []string { return []string{"auto", "iptables", "nftables"} }

// MaxSettingsSize is how many bytes of knockd.toml are read: far more than it needs.
const MaxSettingsSize = 64 << 10

// maxBan is the longest time of a ban, for the reason of the longest lease.
const maxBan = protocol.MaxLease

// ParseSettings reads knockd.toml. All its problems are reported in one run;
// the settings are those of an empty file when any is an error.
func ParseSettings(file string, data []byte) (Settings, format.Diagnostics) {
	doc := tomldoc.Parse(data, MaxSettingsSize)
	s := DefaultSettings()
	if doc.Errors() == 0 {
		s.read(doc, filepath.Dir(file))
	}
	if doc.Errors() > 0 {
		s = DefaultSettings()
	}
	return s, format.Diagnose(file, doc)
}

// read reads the document of a file in a folder.
func (s *Settings) read(doc *tomldoc.Document, folder string) {
	root := doc.Root()
	if f := root.Text("backend"); f != nil {
		s.Backend = f.Value
		if !slices.Contains(Backends(), f.Value) {
			hint := fmt.Sprintf("one of %s", strings.Join(Backends(), ", "))
			if meant := tomldoc.Meant(f.Value, Backends()); meant != "" {
				hint = meant
			}
			doc.Error(f.At, fmt.Sprintf("there is no backend %s", tomldoc.Quote(f.Value)), hint)
		}
	}
	if f := root.Bool("strict"); f != nil {
		s.Policy.Strict = f.Value
	}
	if t := root.Table("ban"); t != nil {
		s.Policy.Ban = readBan(doc, t)
	}
	if f := root.Text("metrics"); f != nil {
		addr, err := netip.ParseAddrPort(f.Value)
		if err != nil {
			doc.Error(f.At, fmt.Sprintf("%s is not an address with a port", tomldoc.Quote(f.Value)), `for example "127.0.0.1:9478"`)
		}
		s.Metrics = addr
	}
	if f := root.Text("audience"); f != nil {
		if err := protocol.CheckAudience(f.Value); err != nil {
			doc.Error(f.At, err.Error(), `for example "db1"`)
		}
		s.Audience = f.Value
	}
	if t := root.Table("fleet"); t != nil {
		s.Fleet = readFleet(doc, t, folder)
		if f := root.Text("audience"); f != nil && s.Fleet.Name != "" && f.Value != s.Fleet.Name {
			doc.Error(f.At, fmt.Sprintf("the audience of a fleet's servers is its name, %s", tomldoc.Quote(s.Fleet.Name)), "leave `audience` out; keys that were made for it have to be made anew")
		}
		s.Audience = s.Fleet.Name
	}
	root.Unknown(func(string) string { return "" })
}

func readBan(doc *tomldoc.Document, t *tomldoc.Table) *protocol.Ban {
	ban := &protocol.Ban{}
	const both = `a ban needs both: ban = { after = 3, for = "10m" }`
	after, length := t.Int("after"), t.Time("for", "s")
	if after != nil {
		ban.After = int(after.Value)
		if after.Value < 1 || after.Value > protocol.MaxBanAfter {
			doc.Error(after.At, fmt.Sprintf("`after` is a number of falls from 1 to %d", protocol.MaxBanAfter), "")
		}
	} else if !t.Has("after") {
		doc.Error(t.At(), "`after` is not set", both)
	}
	if length != nil {
		d, err := format.ParseDuration(length.Value)
		switch {
		case err != nil:
			doc.Error(length.At, err.Error(), `for example "10m"`)
		case d < time.Second || d > maxBan || d%time.Second != 0:
			doc.Error(length.At, fmt.Sprintf("a ban lasts whole seconds, from 1s to %dd", maxBan/(24*time.Hour)), "")
		}
		ban.For = d
	} else if !t.Has("for") {
		doc.Error(t.At(), "`for` is not set", both)
	}
	t.Unknown(func(string) string { return "" })
	return ban
}

// SettingKeys lists what knockd.toml may say, for the documentation. A test compares it with what
// the parser reads, and with its defaults.
func SettingKeys() []format.Key {
	return append([]format.Key{
		{Name: "backend", Default: `"auto"`, Example: `backend = "nftables"`, Meaning: "What runs the rules: `iptables`, `nftables`, or `auto`: the one that holds rules; else nftables where an enabled profile is signed; else iptables where a rule with `-m recent` can be committed, else nftables."},
		{Name: "strict", Default: "true", Example: `strict = false`, Meaning: "Every connection attempt of a source counts, so that a wrong one starts it over. With false only knocks of some profile count: for clients that share an address with busy neighbours."},
		{Name: "ban", Example: `ban = { after = 3, for = "10m" }`, Meaning: "Shut out a source that starts over too often. Off by default: whoever forges a source can ban its owner."},
		{Name: "ban.after", Example: `ban = { after = 3, for = "10m" }`, Meaning: "How many falls from a position within the ban's time, 1 to 20."},
		{Name: "ban.for", Example: `ban = { after = 5, for = "1h" }`, Meaning: "How long it lasts, and over which time falls are counted. Whole seconds."},
		{Name: "metrics", Example: `metrics = "127.0.0.1:9478"`, Meaning: "Where `knockd run` shows its metrics to Prometheus. Unset: nowhere."},
		{Name: "audience", Example: `audience = "db1"`, Meaning: "The name that the server goes by in tokens of signed profiles: a token for another name is worth nothing here. Unset: the host's name. Keys are made for the name that is set then."},
	}, fleetKeys()...)
}
