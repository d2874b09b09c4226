package format

import (
	"slices"
	"strings"
	"unicode"
)

// FindLinks returns the whole links of a text, each once, whatever stands around them. White space may
// have broken one: its sum says that it is whole again. Where none is, begun is the first that begins,
// and [ParseLink] says what is wrong with it; "" where none does.
func FindLinks(text string) (links []string, begun string) {
	for at := strings.Index(text, LinkBegin); at >= 0; at = strings.Index(text, LinkBegin) {
		link, whole := linkAt(text[at:])
		if whole && !slices.Contains(links, link) {
			links = append(links, link)
		}
		if begun == "" {
			begun = link
		}
		text = text[at+len(LinkBegin):]
	}
	if len(links) > 0 {
		begun = ""
	}
	return links, begun
}

// LinkGoesOn reports whether a text has no whole link, and the beginning of one, without its end.
func LinkGoesOn(text string) bool {
	links, begun := FindLinks(text)
	return len(links) == 0 && begun != "" && len(begun) < MaxLink && linkLen(begun) == 0 && oddAt(begun) < 0
}

// linkAt returns the link at the beginning of a text, up to its end; up to the first character that no
// link has where that comes before; else all that there is, or could be.
func linkAt(text string) (link string, whole bool) {
	var letters strings.Builder
	for at, r := range text {
		if unicode.IsSpace(r) {
			if linkLen(letters.String()) > 0 { // what follows is no part of it
				break
			}
			continue
		}
		if letters.Len() > 2*MaxLink { // it is none: how long it is can be said
			break
		}
		if !strings.ContainsRune(linkLetters, r) {
			if linkLen(letters.String()) == 0 && strings.Contains(text[at:], linkEnd) { // it stands in the link
				letters.WriteRune(r)
			}
			break
		}
		letters.WriteRune(r)
	}
	link = letters.String()
	if n := linkLen(link); n > 0 {
		return link, n == len(link) && hasSum(link)
	}
	return link[:min(len(link), MaxLink)], false
}

// oddAt returns where the first character is that no link has; -1 where there is none.
func oddAt(text string) int {
	return strings.IndexFunc(text, func(r rune) bool { return !strings.ContainsRune(linkLetters, r) })
}

// linkLen returns how long the link is with which a text begins, and 0 where its end is missing.
func linkLen(text string) int {
	end := strings.Index(text, linkEnd)
	if end < 0 || len(text) < end+len(linkEnd)+sumLen {
		return 0
	}
	return end + len(linkEnd) + sumLen
}

// hasSum reports whether a link, up to its end, is as it was made.
func hasSum(link string) bool {
	return linkSum(link[:len(link)-sumLen-len(linkEnd)]) == link[len(link)-sumLen:]
}

// HasSecret reports whether a text has the part of a link that is a secret: its knocks, or its key.
func HasSecret(text string) bool {
	text = strings.Join(strings.Fields(text), "")
	return strings.Contains(text, "knock=") || strings.Contains(text, ",key=")
}
