package classic

import "strings"

// word is one word of a shell command: what the command gets, and where it stands.
type word struct {
	text string
	at   position
}

// command is one command of a command line, as its words.
type command struct {
	words []word
	after string // what stands between it and the one before: "", ";", "&&", "||"
}

// splitCommand returns the commands of a shell command line, which may be several
// behind each other. What a shell would fill in or redirect is refused: only a shell
// knows what becomes of it. Output to /dev/null changes nothing, and is left out.
func splitCommand(at position) ([]command, *trouble) {
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
	s.endCommand("")
	return s.commands, nil
}

type shell struct {
	at       position
	text     string
	i        int
	commands []command
	words    []word
	after    string // what stood before the words
	word     strings.Builder
	begun    int  // where the word begins
	inWord   bool // a word may be empty, as ""
	quote    byte // ' or ", 0 outside
	opened   int
}

func (s *shell) step() *trouble {
	c := s.text[s.i]
	switch {
	case s.quote == 0 && (strings.HasPrefix(s.text[s.i:], "||") || strings.HasPrefix(s.text[s.i:], "&&")):
		s.i++
		s.endWord()
		s.endCommand(s.text[s.i-1 : s.i+1])
	case c == '>' && s.quote == 0:
		return s.silence()
	case c == '$' && s.quote != '\'', c == '`' && s.quote != '\'', s.quote == 0 && strings.IndexByte("|&<()*?~", c) >= 0:
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
		s.endCommand(";")
	default:
		s.add(c)
	}
	s.i++
	return nil
}

// silence takes ">/dev/null", "2> /dev/null", "2>&1", and refuses files.
func (s *shell) silence() *trouble {
	if s.inWord && strings.Trim(s.text[s.begun:s.i], "0123456789") == "" {
		s.word.Reset()
		s.inWord = false
	}
	s.endWord()
	rest := s.text[s.i+1:]
	to := strings.TrimLeft(strings.TrimPrefix(rest, ">"), " \t")
	for _, target := range []string{"/dev/null", "&1", "&2"} {
		if behind, ok := strings.CutPrefix(to, target); ok && (behind == "" || strings.IndexByte(white+";&|", behind[0]) >= 0) {
			s.i = len(s.text) - len(behind)
			return nil
		}
	}
	return s.refuse(1)
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

// endCommand ends a command by what stands behind it.
func (s *shell) endCommand(by string) {
	if len(s.words) > 0 {
		s.commands = append(s.commands, command{s.words, s.after})
	}
	s.words, s.after = nil, by
}
