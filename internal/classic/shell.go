package classic

import "strings"

// word is one word of a shell command: what the command gets, and where it stands.
type word struct {
	text string
	at   position
}

// splitCommand returns the commands of a shell command line, which may be several
// behind each other, each as its words. What a shell would fill in or redirect is
// refused: only a shell knows what becomes of it.
func splitCommand(at position) ([][]word, *trouble) {
	s := shell{at: at, text: at.value()}
	for s.i < len(s.text) {
		if t := s.step(); t != nil {
			return nil, t
		}
	}
	if s.quote != 0 {
		return nil, &trouble{at: at.part(s.opened, len(s.text)), message: "a quotation has no end"}
	}
	s.endWord()
	s.endCommand()
	return s.commands, nil
}

type shell struct {
	at       position
	text     string
	i        int
	commands [][]word
	words    []word
	word     strings.Builder
	begun    int  // where the word begins
	inWord   bool // a word may be empty, as ""
	quote    byte // ' or ", 0 outside
	opened   int
}

func (s *shell) step() *trouble {
	c := s.text[s.i]
	switch {
	case c == '$' && s.quote != '\'', c == '`' && s.quote != '\'', s.quote == 0 && strings.IndexByte("|<>()*?~", c) >= 0:
		return s.refuse(1)
	case c == '\\' && s.quote != '\'':
		if s.i+1 == len(s.text) {
			return s.refuse(1)
		}
		if next := s.text[s.i+1]; s.quote == '"' && next != '"' && next != '\\' {
			s.add(c)
			break
		}
		s.i++
		s.add(s.text[s.i])
	case s.quote != 0 && c == s.quote:
		s.quote = 0
	case s.quote != 0:
		s.add(c)
	case c == '\'' || c == '"':
		s.begin()
		s.quote, s.opened = c, s.i
	case c == '#' && !s.inWord:
		s.i = len(s.text) - 1 // a comment of the shell's
	case strings.IndexByte(white, c) >= 0:
		s.endWord()
	case c == ';':
		s.endWord()
		s.endCommand()
	case c == '&':
		if !strings.HasPrefix(s.text[s.i:], "&&") {
			return s.refuse(1)
		}
		s.i++
		s.endWord()
		s.endCommand()
	default:
		s.add(c)
	}
	s.i++
	return nil
}

func (s *shell) refuse(width int) *trouble {
	return &trouble{at: s.at.part(s.i, s.i+width), message: "only a shell knows what becomes of this: a profile runs none",
		hint: "write the rules as plain commands, with `;` between them, and import again"}
}

func (s *shell) begin() {
	if !s.inWord {
		s.inWord, s.begun = true, s.i
	}
}

func (s *shell) add(c byte) {
	s.begin()
	s.word.WriteByte(c)
}

func (s *shell) endWord() {
	if s.inWord {
		s.words = append(s.words, word{s.word.String(), s.at.part(s.begun, s.i)})
	}
	s.word.Reset()
	s.inWord = false
}

func (s *shell) endCommand() {
	if len(s.words) > 0 {
		s.commands = append(s.commands, s.words)
	}
	s.words = nil
}
