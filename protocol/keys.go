package protocol

import "strings"

// Key is a key of a profile's file, or of the server's settings, as the reference in
// the documentation has it.
type Key struct {
	Name    string // with its table in front, as "client.gap"
	Default string // as it would be written; "" where there is none
	Example string // a line of TOML
	Meaning string // a phrase, or several
}

// Table returns the key's table, "" for a key of the file itself.
func (k Key) Table() string {
	table, _, found := strings.Cut(k.Name, ".")
	if !found {
		return ""
	}
	return table
}

// Keys lists what a profile's file may say, in the order in which files are written.
// A test holds it against what the parser asks for, and against its defaults.
func Keys() []Key {
	return []Key{
		{"description", "", `description = "MySQL on db1"`, "For people: shown in lists."},
		{"host", "", `host = ["db1.example.com", "2001:db8::7"]`, "Client: a name or an address, or a list of them. All are knocked on."},
		{"enabled", "true", `enabled = false`, "A disabled profile is listed and never installed."},

		{"sequence", "", `sequence = ["icmp", { knock = "8000/tcp", within = "5s" }]`, "The knocks in their order, 1 to 16: `icmp` (an echo request), `PORT/tcp` (a SYN), `PORT/udp` (a datagram). A port may be a name of /etc/services. A table gives one knock a time of its own: the longest since the knock before it."},
		{"within", `"10s"`, `within = "30s"`, "The longest time from one knock to the next, in whole seconds, at most 24h. \"0\" is no limit; with nftables a day, since a position has to end."},
		{"signed", "", `signed = { carrier = "icmp" }`, "Instead of a sequence: one packet with a one-time token. Part of the format; no backend checks tokens yet, and `install` refuses such a profile."},
		{"signed.carrier", "", `signed = { carrier = "5000/udp" }`, "What carries the token: `icmp` or `PORT/udp`."},

		{"open", "", `open = ["3306/tcp", "6000-6010/tcp"]`, "What the knocks open: ports or ranges, one or more. Leases end when there come more."},
		{"lease", `"1h"`, `lease = "8h"`, "How long new connections may be made, in whole seconds, at most 49d. \"0\" is until removed or evicted."},
		{"renew", "false", `renew = true`, "Each new connection starts the lease again."},
		{"once", "false", `once = true`, "The first connection uses the lease up."},
		{"cut", "false", `cut = true`, "Established connections end with the lease. By default they go on."},
		{"close", "", `close = "9001/tcp"`, "One knock by which a lease holder gives the lease back."},
		{"prefix", "{ ipv4 = 32, ipv6 = 128 }", `prefix = { ipv4 = 24, ipv6 = 64 }`, "The lease covers this much around the source, for clients whose address drifts."},
		{"prefix.ipv4", "32", `prefix = { ipv4 = 24 }`, "Bits of an IPv4 source, 1 to 32."},
		{"prefix.ipv6", "128", `prefix = { ipv6 = 56 }`, "Bits of an IPv6 source, 1 to 128."},

		{"family", `"both"`, `family = "ipv4"`, "`ipv4`, `ipv6` or `both`: where the profile has a gate at all."},
		{"from", "", `from = ["198.51.100.0/24"]`, "Prefixes in which a source must lie to open the profile. The gate shuts out everybody else all the same."},
		{"to", "", `to = ["198.51.100.7/32"]`, "Prefixes in which the destination, an address of this host, must lie, for knocks and connections. What is sent to other addresses is not gated, and without a prefix of a family nothing of that family."},
		{"interface", "", `interface = "eth0"`, "Where knocks and connections come in: the name that rules see, so the bridge and not its port. What comes in elsewhere is not gated."},
		{"place", `"input"`, `place = "prerouting"`, "`prerouting` puts a gate before destination NAT too, in front of what containers publish: [containers](coexistence.md#containers)."},

		{"reply", `"continue"`, `reply = "continue"`, "What happens to a right knock: `continue` (what the host's other rules do with it), `accept`, `drop`, `reject`. Anything but `continue` can tell a right knock from a wrong one."},
		{"closed", `"drop"`, `closed = "reject"`, "What a connection without a lease gets: `drop`, `reject`, or `continue` (what the host's other rules do with it)."},
		{"opened", "", `opened = { iptables = ["-j LOG"] }`, "Extra rules for packets of a lease holder, run before they are accepted."},
		{"opened.iptables", "", `opened = { iptables = ["-m limit --limit 1/min -j LOG"] }`, "For IPv4 with iptables: what stands behind `-A CHAIN`."},
		{"opened.ip6tables", "", `opened = { ip6tables = ["-j LOG"] }`, "The same for IPv6."},
		{"opened.nftables", "", `opened = { nftables = ["counter"] }`, "For both families with nftables: statements."},

		{"client", "", `client = { attempts = 5 }`, "The client's timing."},
		{"client.gap", `"10ms"`, `client = { gap = "50ms" }`, "Between two knocks of the first attempt. Later attempts widen it."},
		{"client.attempts", "3", `client = { attempts = 1 }`, "How often the sequence is sent at most."},
		{"client.verify", "true", `client = { verify = false }`, "Connect to the first opened TCP port afterwards. Never done with `once`, which the connection would use up."},
	}
}
