package command

import (
	"slices"
	"strings"
)

// Synonyms is the key in App.Metadata of a [][Synonym]: words that are no commands of the program,
// and that people type for one.
const Synonyms = "synonyms"

// Synonym is what people type for commands. A synonym never leads to the opposite of what was typed.
type Synonym struct {
	Group string // the command whose subcommand is typed, as "profile"; "": none
	Typed string // words with spaces between them, each typed for the same
	Right string // what does it: the words behind the program's name, several with ", "; "": nothing does
	Say   string // what else to know, in a line; "": nothing
}

// synonym returns the hints for a word that is a synonym where it stands, "" for another.
func (l *line) synonym(args []string, at int, word string) string {
	i := slices.IndexFunc(l.synonyms, func(s Synonym) bool {
		return s.Group == l.group() && slices.Contains(strings.Fields(s.Typed), word)
	})
	if i < 0 {
		return ""
	}
	var hints []string
	for right := range strings.SplitSeq(l.synonyms[i].Right, ", ") {
		if right == "" {
			continue
		}
		begin := didYouMean
		if len(hints) > 0 {
			begin = "or: "
		}
		hints = append(hints, begin+Shell(l.instead(args, at, right)))
	}
	if l.synonyms[i].Say != "" {
		hints = append(hints, l.synonyms[i].Say)
	}
	return strings.Join(hints, "\n")
}

// instead returns the line with other words in the place of the commands and of args[at].
func (l *line) instead(args []string, at int, right string) []string {
	fixed := []string{l.levels[0].name}
	for i, arg := range args {
		switch {
		case i == at:
			fixed = append(fixed, strings.Fields(right)...)
		case !slices.ContainsFunc(l.levels[1:], func(lv *level) bool { return lv.at == i }):
			fixed = append(fixed, arg)
		}
	}
	return fixed
}

// group names the commands that were entered.
func (l *line) group() string { return strings.Join(l.path()[1:], " ") }

// typed lists the synonyms where the line is.
func (l *line) typed() (words []string) {
	for _, s := range l.synonyms {
		if s.Group == l.group() {
			words = append(words, strings.Fields(s.Typed)...)
		}
	}
	return words
}
