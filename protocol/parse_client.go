package protocol

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
	"unicode"

	"knockkit/internal/tomldoc"
)

// Limits of the client's timing.
const (
	MaxGap      = 10 * time.Second
	MaxAttempts = 10
)

// general reads what a profile is called and which host it is for.
func (a *parser) general() {
	a.p.Enabled = or(a.raw.Enabled, true)
	if f := a.raw.Description; f != nil {
		a.p.Description = f.Value
		if strings.ContainsFunc(f.Value, func(r rune) bool { return !unicode.IsPrint(r) }) {
			a.doc.Error(f.At, "the description is not one line of plain text", "it is shown in lists: remove line ends, tabs and control characters")
		}
	}
	for _, item := range a.list(a.raw.Host, "leave `host` out to name it on the command line") {
		if err := checkHost(item.Value); err != nil {
			a.text(item, err)
		}
		a.p.Hosts = append(a.p.Hosts, item.Value)
	}
}

// checkHost refuses what is neither an address nor can be a name in the DNS.
func checkHost(host string) error {
	if _, err := netip.ParseAddr(host); err == nil {
		return nil
	}
	bare := strings.Trim(host, "[]")
	if _, err := netip.ParseAddr(bare); err == nil {
		return wrong(host, "", fmt.Sprintf("write %q", bare), "an address has no brackets here")
	}
	name, port, hasPort := strings.Cut(host, ":")
	odd := strings.Trim(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
	switch {
	case host == "":
		return wrong(host, "", `write a name or an address, as "db1.example.com"`, "the host is empty")
	case hasPort && port != "" && strings.Trim(port, "0123456789") == "":
		return wrong(host, ":"+port, fmt.Sprintf("write %q; ports belong into `sequence` and `open`", name), "a host has no port")
	case odd != "" || host[0] == '-' || len(host) > 253:
		return wrong(host, "", `write a name or an address, as "db1.example.com"`, "%s is not a host", tomldoc.Quote(host))
	}
	return nil
}

// client reads the timing of the client.
func (a *parser) client() {
	a.p.Client = Client{Gap: DefaultGap, Attempts: DefaultAttempts, Verify: true}
	raw := a.raw.Client
	if raw == nil {
		return
	}
	a.p.Client.Attempts = a.between(raw.Attempts, 1, MaxAttempts, DefaultAttempts)
	a.p.Client.Verify = or(raw.Verify, true)
	if raw.Gap == nil {
		return
	}
	gap, err := ParseDuration(raw.Gap.Value)
	switch {
	case err != nil:
		a.text(*raw.Gap, err)
	case gap == 0:
		a.doc.Error(raw.Gap.At, "knocks without a gap overtake each other", fmt.Sprintf("the default is %q", FormatDuration(DefaultGap)))
	case gap%time.Millisecond != 0:
		a.doc.Error(raw.Gap.At, "the gap is in whole milliseconds", didYouMean(FormatDuration(gap.Truncate(time.Millisecond)+time.Millisecond)))
	case gap > MaxGap:
		a.doc.Error(raw.Gap.At, fmt.Sprintf("the gap is longer than %s", FormatDuration(MaxGap)), fmt.Sprintf("the default is %q", FormatDuration(DefaultGap)))
	}
	a.p.Client.Gap = gap
}
