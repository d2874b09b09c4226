package server

import "knockkit/protocol"

// SettingKeys lists what knockd.toml may say, for the reference in the documentation.
// A test holds it against what the parser asks for, and against its defaults.
func SettingKeys() []protocol.Key {
	return []protocol.Key{
		{Name: "backend", Default: `"auto"`, Example: `backend = "nftables"`, Meaning: "What runs the rules: `iptables`, `nftables`, or `auto`: the one that holds rules; else iptables where a rule with `-m recent` can be committed, else nftables."},
		{Name: "strict", Default: "true", Example: `strict = false`, Meaning: "Every connection attempt of a source counts, so that a wrong one starts it over. With false only knocks of some profile count: for clients that share an address with busy neighbours."},
		{Name: "ban", Example: `ban = { after = 3, for = "10m" }`, Meaning: "Shut out a source that starts over too often. Off by default: whoever forges a source can ban its owner."},
		{Name: "ban.after", Example: `ban = { after = 3, for = "10m" }`, Meaning: "How many falls from a position within the ban's time, 1 to 20."},
		{Name: "ban.for", Example: `ban = { after = 5, for = "1h" }`, Meaning: "How long it lasts, and over which time falls are counted. Whole seconds."},
		{Name: "metrics", Example: `metrics = "127.0.0.1:9478"`, Meaning: "Where `knockd run` shows its metrics to Prometheus. Unset: nowhere."},
	}
}
