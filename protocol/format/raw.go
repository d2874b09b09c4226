package format

import (
	"slices"

	"knockkit/internal/tomldoc"
)

// rawProfile is a profile as its file has it: each value has the right TOML type, and nothing else
// is checked. nil is a key that is not set.
type rawProfile struct {
	has func(key string) bool // set, if only to a wrong type

	Description *tomldoc.Field[string]
	Host        *tomldoc.Texts
	Any         *tomldoc.Field[bool]
	Enabled     *tomldoc.Field[bool]

	Sequence *tomldoc.Field[[]tomldoc.Item]
	Within   *tomldoc.Field[string]
	Signed   *rawSigned

	Open   *tomldoc.Texts
	Lease  *tomldoc.Field[string]
	Renew  *tomldoc.Field[bool]
	Once   *tomldoc.Field[bool]
	Cut    *tomldoc.Field[bool]
	Close  *tomldoc.Field[string]
	Prefix *rawPrefix
	Fleet  *tomldoc.Field[bool]

	Family    *tomldoc.Field[string]
	From, To  *tomldoc.Texts
	Interface *tomldoc.Field[string]
	Place     *tomldoc.Field[string]

	Reply  *tomldoc.Field[string]
	Closed *tomldoc.Field[string]
	Opened *rawOpened
	Client *rawClient
}

type rawSigned struct {
	Table   *tomldoc.Table
	Carrier *tomldoc.Field[string]
}

type rawPrefix struct{ IPv4, IPv6 *tomldoc.Field[int64] }

type rawOpened struct{ IPTables, IP6Tables, NFTables *tomldoc.Texts }

type rawClient struct {
	Gap      *tomldoc.Field[string]
	Attempts *tomldoc.Field[int64]
	Verify   *tomldoc.Field[bool]
}

// readRaw is the stage from TOML to rawProfile. It reports wrong types and unknown keys to the
// table's document.
func readRaw(t *tomldoc.Table) *rawProfile {
	raw := &rawProfile{
		has:         t.Has,
		Description: t.Text("description"),
		Host:        t.TextOrTexts("host"),
		Any:         t.Bool("any"),
		Enabled:     t.Bool("enabled"),
		Sequence:    t.Items("sequence"),
		Within:      t.Time("within", "s"),
		Open:        t.Ports("open"),
		Lease:       t.Time("lease", "s"),
		Renew:       t.Bool("renew"),
		Once:        t.Bool("once"),
		Cut:         t.Bool("cut"),
		Close:       t.Port("close"),
		Fleet:       t.Bool("fleet"),
		Family:      t.Text("family"),
		From:        t.TextOrTexts("from"),
		To:          t.TextOrTexts("to"),
		Interface:   t.Text("interface"),
		Place:       t.Text("place"),
		Reply:       t.Text("reply"),
		Closed:      t.Text("closed"),
	}
	if signed := t.Table("signed"); signed != nil {
		raw.Signed = &rawSigned{Table: signed, Carrier: signed.Port("carrier")}
		signed.Unknown(misplaced)
	}
	if prefix := t.Table("prefix"); prefix != nil {
		raw.Prefix = &rawPrefix{IPv4: prefix.Int("ipv4"), IPv6: prefix.Int("ipv6")}
		prefix.Unknown(misplaced)
	}
	if opened := t.Table("opened"); opened != nil {
		raw.Opened = &rawOpened{opened.Texts("iptables"), opened.Texts("ip6tables"), opened.Texts("nftables")}
		opened.Unknown(misplaced)
	}
	if client := t.Table("client"); client != nil {
		raw.Client = &rawClient{client.Time("gap", "ms"), client.Int("attempts"), client.Bool("verify")}
		client.Unknown(misplaced)
	}
	t.Unknown(otherName)
	return raw
}

// misplaced explains a key of the profile inside a table: in TOML every key after a [header] belongs
// to that table.
func misplaced(key string) string {
	if slices.ContainsFunc(Keys(), func(k Key) bool { return k.Name == key }) {
		return "`" + key + "` is a key of the profile: put it above the first [table]"
	}
	return ""
}

// otherName explains keys of other knock daemons, and keys that belong into a table.
func otherName(key string) string {
	switch key {
	case "gap", "attempts", "verify":
		return "it belongs below [client]"
	case "iptables", "ip6tables", "nftables":
		return "it belongs below [opened]"
	case "carrier":
		return `write signed = { carrier = "icmp" }`
	case "ipv4", "ipv6":
		return "write prefix = { ipv4 = 32, ipv6 = 128 }"
	case "timeout", "seq_timeout":
		return did("within")
	case "cmd_timeout", "duration":
		return did("lease")
	case "port", "ports":
		return did("open")
	case "knocks":
		return did("sequence")
	case "name":
		return "a profile's name is the name of its file"
	}
	return ""
}

func did(key string) string { return didYouMean(key) }

// Key is a key of a profile's file, or of the server's settings, as the reference in
// the documentation has it.
type Key struct {
	Name    string // with its table in front, as "client.gap"
	Default string // as it would be written; "" where there is none
	Example string // a line of TOML
	Meaning string // a phrase, or several
}

// Keys lists what a profile's file may say, in the order in which files are written. A test compares
// it with what the parser reads, and with its defaults.
func Keys() []Key {
	return []Key{
		{"description", "", `description = "MySQL on db1"`, "For people: shown in lists."},
		{"host", "", `host = ["db1.example.com", "2001:db8::7"]`, "Client: a name or an address, or a list of them. All are knocked on."},
		{"any", "false", `any = true`, "Client: one host that opens is enough, as in a fleet. They are tried one after the other, in a random order."},
		{"enabled", "true", `enabled = false`, "A disabled profile is listed and never installed."},

		{"sequence", "", `sequence = ["icmp", { knock = "8000/tcp", within = "5s" }]`, "The knocks in their order, 1 to 16: `icmp` (an echo request), `PORT/tcp` (a SYN), `PORT/udp` (a datagram). A port may be a name of /etc/services. A table gives one knock a time of its own: the longest since the knock before it."},
		{"within", `"10s"`, `within = "30s"`, "The longest time from one knock to the next, in whole seconds, at most 24h. \"0\" is no limit; with nftables a day, since a position has to end."},
		{"signed", "", `signed = { carrier = "icmp" }`, "Instead of a sequence: one packet with a token that opens once, which a key makes: [signed profiles](signed.md). With nftables only. It needs `knockd run`."},
		{"signed.carrier", "", `signed = { carrier = "5000/udp" }`, "What carries the token: `icmp`, a ping, or `PORT/udp`, a datagram to a port that no profile opens."},

		{"open", "", `open = ["3306/tcp", "6000-6010/tcp"]`, "What the knocks open: ports or ranges, one or more. Leases end when ports are added."},
		{"lease", `"1h"`, `lease = "8h"`, "How long new connections may be made, in whole seconds, at most 49d. \"0\" is until revoked, or evicted from a full table."},
		{"renew", "false", `renew = true`, "Each new connection starts the lease again."},
		{"once", "false", `once = true`, "The first connection uses the lease up."},
		{"cut", "false", `cut = true`, "Established connections end with the lease. By default they go on."},
		{"close", "", `close = "9001/tcp"`, "One knock by which a lease holder gives the lease back."},
		{"prefix", "{ ipv4 = 32, ipv6 = 128 }", `prefix = { ipv4 = 24, ipv6 = 64 }`, "The lease covers this much around the source, for clients whose address drifts."},
		{"prefix.ipv4", "32", `prefix = { ipv4 = 24 }`, "Bits of an IPv4 source, 1 to 32."},
		{"prefix.ipv6", "128", `prefix = { ipv6 = 56 }`, "Bits of an IPv6 source, 1 to 128."},
		{"fleet", "true", `fleet = false`, "With false the leases are for this server alone, also in a [fleet](#settings-of-the-server). Those of a profile with `once` always are."},

		{"family", `"both"`, `family = "ipv4"`, "`ipv4`, `ipv6` or `both`: where the profile has a gate at all."},
		{"from", "", `from = ["198.51.100.0/24"]`, "Prefixes in which a source must lie to open the profile. The gate shuts out everybody else all the same."},
		{"to", "", `to = ["198.51.100.7/32"]`, "Prefixes in which the destination, an address of this host, must lie, for knocks and connections. Packets to other addresses are not gated, nor packets of a family of which no prefix is given."},
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
