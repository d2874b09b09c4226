package format

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"knockkit/internal/tomldoc"
	"knockkit/protocol"
)

// linkKey is a key of a link: the line of a profile's file that its values become.
type linkKey struct {
	name, line string
	write      func(values []string) (toml string, ok bool)
}

// linkKeys lists the keys of a link in the order of the file's lines.
func linkKeys() []linkKey {
	return []linkKey{
		{"host", "host", someOf(quotedText)},
		{"any", "any", one(boolText)},
		{"knock", "sequence", listOf(stepText)},
		{"carrier", "signed", one(carrierText)},
		{"within", "within", one(quotedText)},
		{"open", "open", listOf(rangeText)},
		{"lease", "lease", one(quotedText)},
		{"renew", "renew", one(boolText)},
		{"once", "once", one(boolText)},
		{"close", "close", someOf(knockText)},
		{"family", "family", one(quotedText)},
		{"closed", "closed", one(quotedText)},
		{"gap", "client.gap", one(quotedText)},
		{"attempts", "client.attempts", one(numberText)},
		{"verify", "client.verify", one(boolText)},
	}
}

// keyLinkKeys are those of a signed profile's link that go into the file of its key.
func keyLinkKeys() []string { return []string{"user", "audience", "expires", "key"} }

const (
	copyAgain  = "copy it again, from knock:// up to the 8 digits behind sum="
	newerLinks = "a newer version may have written it: update knock, or have the link made by the version that is here"
)

// Linked is what a link says.
type Linked struct {
	Profile *protocol.Profile // valid as one of a file
	Text    []byte            // of the file that holds it, of the name NAME.toml
	Key     *KeyFile          // of a signed profile; nil for others
}

// ParseLink reads what [Link] writes. The error is a [*SyntaxError] without the text, which is a secret.
func ParseLink(link string) (Linked, error) {
	refuse := func(hint, message string, args ...any) (Linked, error) {
		return Linked{}, &SyntaxError{Message: fmt.Sprintf(message, args...), Hint: hint}
	}
	if err := checkLinkForm(link); err != nil {
		return Linked{}, err
	}
	name, rest, _ := strings.Cut(link[len(LinkBegin):len(link)-len(linkEnd)-sumLen], "/")
	if err := CheckName(name); err != nil {
		return refuse(newerLinks, "%v", err)
	}
	values := map[string][]string{}
	for item := range strings.SplitSeq(rest, ",") {
		key, value, _ := strings.Cut(item, "=")
		if key == "" || value == "" {
			return refuse(newerLinks, "a part of the link cannot be read")
		}
		if values[key] != nil {
			return refuse(newerLinks, "the link says %s twice", tomldoc.Quote(key))
		}
		values[key] = strings.Split(value, linkJoin)
	}
	key := keyText(name, values)
	var text strings.Builder
	for _, key := range linkKeys() {
		if values[key.name] == nil {
			continue
		}
		toml, ok := key.write(values[key.name])
		if !ok {
			return refuse(newerLinks, "the link's `%s` cannot be read", key.name)
		}
		fmt.Fprintf(&text, "%s = %s\n", key.line, toml)
		delete(values, key.name)
	}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		return refuse(newerLinks, "the link has the key %s, which this version of knock does not know", tomldoc.Quote(key))
	}
	p, problems := ParseProfile(name+".toml", []byte(text.String()))
	switch {
	case p == nil:
		return refuse(newerLinks, "the profile in the link is not valid: %s", problems.Errors()[0].Message)
	case len(p.Hosts) == 0:
		return refuse(newerLinks, "the link names no host")
	case (p.Signed == nil) != (key == ""):
		return refuse(newerLinks, "the link has a key or a carrier, and needs both or none")
	}
	l := Linked{p, []byte(text.String()), nil}
	if p.Signed != nil {
		var problems Diagnostics
		if l.Key, problems = ParseKeyFile(name+".key", []byte(key)); l.Key == nil {
			return refuse(newerLinks, "the key in the link is not valid: %s", problems.Errors()[0].Message)
		}
	}
	return l, nil
}

// keyText takes what is about the key out of the values of a link, and returns the text of the key's
// file; "" where there is none.
func keyText(profile string, values map[string][]string) string {
	var text strings.Builder
	for _, key := range keyLinkKeys() {
		if v := values[key]; v != nil {
			fmt.Fprintf(&text, "%s = %q\n", key, strings.Join(v, linkJoin))
			delete(values, key)
		}
	}
	if text.Len() == 0 {
		return ""
	}
	return fmt.Sprintf("profile = %q\n", profile) + text.String()
}

// checkLinkForm refuses what is no link, and a link that is not whole.
func checkLinkForm(link string) error {
	odd, n := oddAt(link), linkLen(link)
	switch {
	case link == "":
		return &SyntaxError{Message: "the link is empty", Hint: copyAgain}
	case !strings.HasPrefix(link, LinkBegin) && strings.Contains(link, linkEnd):
		return &SyntaxError{Message: "the link's beginning is missing", Hint: copyAgain}
	case !strings.HasPrefix(link, LinkBegin):
		return &SyntaxError{Message: "this is no link: a link begins with " + LinkBegin, Hint: "on the server: knockd profile link NAME, or knockd key add USER NAME for a signed one"}
	case len(link) > MaxLink:
		return &SyntaxError{Message: fmt.Sprintf("the link has %d bytes; at most %d are possible", len(link), MaxLink), Hint: copyAgain}
	case odd >= 0 && unicode.IsSpace(rune(link[odd])):
		return &SyntaxError{Message: "the link has white space in it", Hint: "it is one line without spaces: " + copyAgain}
	case odd >= 0:
		return &SyntaxError{Message: fmt.Sprintf("the link has %q in it, which no link has", []rune(link[odd:])[0]), Hint: copyAgain}
	case n == 0:
		return &SyntaxError{Message: "the link was cut off: its end is missing", Hint: copyAgain}
	case len(link) > n:
		return &SyntaxError{Message: "something follows the link's end", Hint: copyAgain}
	case !hasSum(link):
		return &SyntaxError{Message: "the link was changed on the way: its sum is not right", Hint: copyAgain}
	}
	return nil
}

// one is for keys with one value.
func one(write func(string) (string, bool)) func([]string) (string, bool) {
	return func(values []string) (string, bool) {
		if len(values) != 1 {
			return "", false
		}
		return write(values[0])
	}
}

// listOf is for keys with one value or more, which become a list.
func listOf(write func(string) (string, bool)) func([]string) (string, bool) {
	return func(values []string) (string, bool) {
		all := make([]string, len(values))
		for i, v := range values {
			var ok bool
			if all[i], ok = write(v); !ok {
				return "", false
			}
		}
		return "[" + strings.Join(all, ", ") + "]", true
	}
}

// someOf is listOf, but for one value alone, which stands without brackets.
func someOf(write func(string) (string, bool)) func([]string) (string, bool) {
	return func(values []string) (string, bool) {
		if len(values) == 1 {
			return write(values[0])
		}
		return listOf(write)(values)
	}
}

// quotedText is for values that the parser of files checks. The letters of a link need no escape.
func quotedText(value string) (string, bool) { return strconv.Quote(value), true }

func boolText(value string) (string, bool) { return value, value == "true" || value == "false" }

func numberText(value string) (string, bool) { return value, isNumber(value) && len(value) < 10 }

// stepText makes `"8000/tcp"` of "8000-tcp", and a table of "8000-tcp-5s".
func stepText(value string) (string, bool) {
	parts := 2
	if strings.HasPrefix(value, "icmp") {
		parts = 1
	}
	words := strings.Split(value, "-")
	knock, ok := knockText(strings.Join(words[:min(parts, len(words))], "-"))
	switch len(words) - parts {
	case 0:
		return knock, ok
	case 1:
		return fmt.Sprintf("{ knock = %s, within = %q }", knock, words[parts]), ok
	}
	return "", false
}

// carrierText makes `{ carrier = "icmp" }` of "icmp".
func carrierText(value string) (string, bool) {
	knock, ok := knockText(value)
	return "{ carrier = " + knock + " }", ok
}

// knockText makes `"8000/tcp"` of "8000-tcp".
func knockText(value string) (string, bool) {
	port, proto, _ := strings.Cut(value, "-")
	if value == "icmp" {
		return strconv.Quote(value), true
	}
	return strconv.Quote(port + "/" + proto), isNumber(port) && isPortProto(proto)
}

// rangeText makes `"6000-6010/tcp"` of "6000-6010-tcp".
func rangeText(value string) (string, bool) {
	i := max(0, strings.LastIndex(value, "-"))
	first, last, isRange := strings.Cut(value[:i], "-")
	ok := isNumber(first) && (!isRange || isNumber(last)) && isPortProto(strings.TrimPrefix(value[i:], "-"))
	return strconv.Quote(value[:i] + "/" + strings.TrimPrefix(value[i:], "-")), ok
}

// isNumber: a link has no names of services, which another machine may not know.
func isNumber(text string) bool { return text != "" && strings.Trim(text, "0123456789") == "" }

func isPortProto(text string) bool { return slices.Contains([]string{"tcp", "udp"}, text) }
