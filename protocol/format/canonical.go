package format

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"knockkit/internal/say"
	"knockkit/internal/tomldoc"
	"knockkit/protocol"
)

// maxCanonical bounds what ParseCanonical reads. The canonical form of the
// largest profile is a few times its file: a character may become "\u00e9".
const maxCanonical = 8 * protocol.MaxProfileSize

// canonical is the server's part of a profile in the keys of its file, in the
// order in which they are written.
type canonical struct {
	Name      string           `json:"name"`
	Sequence  []any            `json:"sequence,omitempty"`
	Signed    *canonicalSigned `json:"signed,omitempty"`
	Open      []string         `json:"open"`
	Lease     string           `json:"lease,omitempty"`
	Renew     bool             `json:"renew,omitempty"`
	Once      bool             `json:"once,omitempty"`
	Cut       bool             `json:"cut,omitempty"`
	Close     string           `json:"close,omitempty"`
	Prefix    *canonicalPrefix `json:"prefix,omitempty"`
	Fleet     *bool            `json:"fleet,omitempty"`
	Family    string           `json:"family,omitempty"`
	From      []string         `json:"from,omitempty"`
	To        []string         `json:"to,omitempty"`
	Interface string           `json:"interface,omitempty"`
	Place     string           `json:"place,omitempty"`
	Reply     string           `json:"reply,omitempty"`
	Closed    string           `json:"closed,omitempty"`
	Opened    *canonicalOpened `json:"opened,omitempty"`
}

type canonicalStep struct {
	Knock  string `json:"knock"`
	Within string `json:"within"`
}

type canonicalSigned struct {
	Carrier string `json:"carrier"`
}

type canonicalPrefix struct {
	IPv4 int `json:"ipv4,omitempty"`
	IPv6 int `json:"ipv6,omitempty"`
}

type canonicalOpened struct {
	IPTables  []string `json:"iptables,omitempty"`
	IP6Tables []string `json:"ip6tables,omitempty"`
	NFTables  []string `json:"nftables,omitempty"`
}

// Canonical returns one line of JSON, in ASCII, with all of the profile that concerns the server. It
// leaves out the host, the client's timing, the description and `enabled`. Ports are numbers and
// defaults are omitted, so that two profiles that mean the same have the same form. [ParseCanonical]
// reads it back.
func Canonical(p *protocol.Profile) string {
	c := canonical{
		Name: p.Name, Open: texts(p.Open), Renew: p.Renew, Once: p.Once, Cut: p.Cut,
		From: texts(p.From), To: texts(p.To), Interface: p.Interface,
		Family: unless(p.Family, protocol.Both), Place: unless(p.Place, protocol.PlaceInput), Reply: unless(p.Reply, protocol.ReplyContinue), Closed: unless(p.Closed, protocol.ClosedDrop),
	}
	for i, s := range p.Sequence {
		if i == 0 || s.Within == protocol.DefaultWithin {
			c.Sequence = append(c.Sequence, s.Knock.String())
		} else {
			c.Sequence = append(c.Sequence, canonicalStep{s.Knock.String(), protocol.FormatDuration(s.Within)})
		}
	}
	if p.Signed != nil {
		c.Signed = &canonicalSigned{p.Signed.Carrier.String()}
	}
	if p.Lease != protocol.DefaultLease {
		c.Lease = protocol.FormatDuration(p.Lease)
	}
	if p.Close != nil {
		c.Close = p.Close.String()
	}
	if prefix := (canonicalPrefix{p.PrefixIPv4 % protocol.IPv4.Bits(), p.PrefixIPv6 % protocol.IPv6.Bits()}); prefix != (canonicalPrefix{}) {
		c.Prefix = &prefix
	}
	if p.Local {
		c.Fleet = new(bool)
	}
	if o := p.Opened; len(o.IPTables)+len(o.IP6Tables)+len(o.NFTables) > 0 {
		c.Opened = &canonicalOpened{o.IPTables, o.IP6Tables, o.NFTables}
	}
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(c); err != nil {
		panic(err) // strings, numbers and booleans always encode
	}
	return say.Escaped(strings.TrimSuffix(b.String(), "\n"), func(r rune) bool { return r < 0x7f })
}

// ParseCanonical reads what [Canonical] writes. It fails for what a profile's file may not say too,
// except in the bodies of extra rules.
func ParseCanonical(s string) (*protocol.Profile, error) {
	if len(s) > maxCanonical {
		return nil, fmt.Errorf("canonical profile: %d bytes are more than %d", len(s), maxCanonical)
	}
	decoder := json.NewDecoder(strings.NewReader(s))
	decoder.UseNumber()
	var values map[string]any
	if err := decoder.Decode(&values); err != nil {
		return nil, fmt.Errorf("canonical profile: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("canonical profile: something follows it")
	}
	name, _ := values["name"].(string)
	if err := CheckName(name); err != nil {
		return nil, fmt.Errorf("canonical profile: %w", err)
	}
	delete(values, "name")
	for _, key := range []string{"description", "enabled", "host", "any", "client"} {
		if _, set := values[key]; set {
			return nil, fmt.Errorf("canonical profile %s: it has no %q", name, key)
		}
	}
	doc := tomldoc.FromValues(integers(values).(map[string]any))
	p := readProfile(name, doc, false)
	if err := Diagnose("canonical profile "+name, doc).Err(); err != nil {
		return nil, err
	}
	return p, nil
}

// integers makes the numbers of JSON those of TOML.
func integers(v any) any {
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		return 0.5 // no key takes a fraction
	case []any:
		for i := range v {
			v[i] = integers(v[i])
		}
	case map[string]any:
		for key := range v {
			v[key] = integers(v[key])
		}
	}
	return v
}

func texts[T fmt.Stringer](values []T) []string {
	var all []string
	for _, v := range values {
		all = append(all, v.String())
	}
	return all
}

func unless[T interface {
	comparable
	fmt.Stringer
}](v, unset T) string {
	if v == unset {
		return ""
	}
	return v.String()
}
