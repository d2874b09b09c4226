package tomldoc

import (
	"bytes"
	"fmt"
	"unicode/utf8"
)

// notText finds what no TOML file may have: another encoding than UTF-8, or
// control characters. The TOML library reports some of it at a wrong place.
func notText(data []byte) (at Span, message, hint string) {
	if bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff")) {
		return Span{}, "the file is UTF-16 text", "save it as UTF-8"
	}
	if bytes.IndexByte(data, 0) >= 0 {
		return Span{}, "the file is not text: it has NUL bytes", ""
	}
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		at = Span{i, i + size}
		switch {
		case r == utf8.RuneError && size == 1:
			return at, fmt.Sprintf("byte 0x%02x is not UTF-8 text", data[i]), "save the file as UTF-8"
		case r == '\r' && !bytes.HasPrefix(data[i:], []byte("\r\n")):
			return at, "a carriage return (U+000D) without a line feed", "save the file with Unix or Windows line ends"
		case r < ' ' && r != '\t' && r != '\n' && r != '\r', r == 0x7f:
			return at, fmt.Sprintf("control character U+%04X", r), "remove it, or write it as an escape in a \"string\""
		}
		i += size
	}
	return Span{}, "", ""
}
