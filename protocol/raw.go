package protocol

import (
	"slices"

	"knockkit/internal/tomldoc"
)

// rawProfile is a profile as its file has it: everything has the right TOML
// type and nothing else is checked. nil is a key that is not set.
type rawProfile struct {
	has func(key string) bool // set, if only to a wrong type

	Description *tomldoc.Field[string]
	Host        *tomldoc.Texts
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

// readRaw is the stage from TOML to rawProfile. Wrong types and unknown keys
// are noted in the table's document.
func readRaw(t *tomldoc.Table) *rawProfile {
	raw := &rawProfile{
		has:         t.Has,
		Description: t.Text("description"),
		Host:        t.TextOrTexts("host"),
		Enabled:     t.Bool("enabled"),
		Sequence:    t.Items("sequence"),
		Within:      t.Time("within", "s"),
		Open:        t.Ports("open"),
		Lease:       t.Time("lease", "s"),
		Renew:       t.Bool("renew"),
		Once:        t.Bool("once"),
		Cut:         t.Bool("cut"),
		Close:       t.Port("close"),
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

// misplaced explains a key of the profile that stands in a table: in TOML every
// key after a [header] belongs to that table.
func misplaced(key string) string {
	if slices.ContainsFunc(Keys(), func(k Key) bool { return k.Name == key }) {
		return "`" + key + "` is a key of the profile: put it above the first [table]"
	}
	return ""
}

// otherName explains keys of other knock daemons, and keys that belong to a
// table.
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
