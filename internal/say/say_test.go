package say

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestWordsCarryTheProgramsName(t *testing.T) {
	var out bytes.Buffer
	p := &Printer{Name: "knock", W: &out}
	p.Error(errors.New("no profile mysq"))
	p.Hint("did you mean: knock mysql\nall profiles: knock list")
	p.Hint("")
	p.Warning("%d profiles are broken", 2)
	p.Advice("see knock list")
	p.Note("mysql: open")
	p.Detail("icmp")
	want := `knock: error: no profile mysq
knock: hint: did you mean: knock mysql
knock: hint: all profiles: knock list
knock: warning: 2 profiles are broken
knock: hint: see knock list
knock: mysql: open
  icmp
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}

func TestAQuietPrinterStillSaysErrorsAndTheirHints(t *testing.T) {
	var out bytes.Buffer
	p := &Printer{Name: "knock", W: &out, Quiet: true, Terminal: true}
	p.Warning("w")
	p.Advice("a")
	p.Note("n")
	p.Detail("d")
	p.Line().Set("progress")
	if out.Len() > 0 {
		t.Errorf("a quiet printer wrote %q", out.String())
	}
	p.Error(errors.New("e"))
	p.Hint("h")
	if want := "knock: error: e\nknock: hint: h\n"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}

func TestAFileOrPipeIsNoTerminalAndGetsNoColour(t *testing.T) {
	p := To("knock", &bytes.Buffer{})
	if p.Terminal || p.Color {
		t.Errorf("a buffer was taken for a terminal: %+v", p)
	}
	if got := p.Good("open"); got != "open" {
		t.Errorf("painted %q for no terminal", got)
	}
}

// hostile is what somebody may call a file, a section or a rule: colours of ours, the
// terminal's title, its screen, C1 control characters, text that runs backwards or is not
// seen, bytes that are no text, and a line that looks like one of ours.
const hostile = "a\x1b[32mopen\x1b[0m\x1b]0;title\a\u009b2J\x7f\u202egpj\u2066\u200b\xff\r\nknock: all is well"

// raw returns the first character of text that could drive a terminal, or -1.
func raw(text string) rune {
	for _, r := range text {
		if r != '\n' && !unicode.IsPrint(r) {
			return r
		}
	}
	if !utf8.ValidString(text) {
		return utf8.RuneError
	}
	return -1
}

func TestQuotedTextCannotDriveTheTerminal(t *testing.T) {
	for name, write := range map[string]func(p *Printer) error{
		"an error":    func(p *Printer) error { p.Error(errors.New(hostile)); return nil },
		"a hint":      func(p *Printer) error { p.Hint(Plain(hostile)); return nil },
		"a warning":   func(p *Printer) error { p.Warning("%s", hostile); return nil },
		"a note":      func(p *Printer) error { p.Note("%v %-*s", errors.New(hostile), 9, hostile); return nil },
		"a detail":    func(p *Printer) error { p.Detail("%s", hostile); return nil },
		"a block":     func(p *Printer) error { p.Block(hostile); return nil },
		"a table":     func(p *Printer) error { return Table(p.W, []string{hostile}, [][]string{{hostile}}) },
		"a line":      func(p *Printer) error { return Print(p.W, "%s", hostile) },
		"JSON":        func(p *Printer) error { return JSON(p.W, "  ", map[string]string{hostile: hostile}) },
		"many names":  func(p *Printer) error { p.Hint(Names([]string{hostile, hostile})); return nil },
		"what is bad": func(p *Printer) error { p.Note("%s", p.Bad(hostile)); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			if err := write(&Printer{Name: "knock", W: &out, Color: name != "JSON"}); err != nil {
				t.Fatal(err)
			}
			text := out.String()
			for _, color := range []string{red + "error: ", yellow + "warning: ", cyan + "hint: ", red + "a", reset} {
				text = strings.Replace(text, color, "", 1)
			}
			if r := raw(text); r >= 0 {
				t.Errorf("%U in %q", r, text)
			}
			if strings.Contains(text, "\nknock: all is well") && name != "a block" {
				t.Errorf("it looks like words of ours: %q", text)
			}
		})
	}
}

func TestOurOwnColoursAreLeft(t *testing.T) {
	var out bytes.Buffer
	p := &Printer{Name: "knock", W: &out, Color: true}
	p.Note("%s %s", p.Good("open"), green+"open"+reset)
	if want := "knock: " + green + "open" + reset + " �[32mopen�[0m\n"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}

func TestDataIsExactForAPipeAndPlainOnATerminal(t *testing.T) {
	var out bytes.Buffer
	if err := Data(&out, hostile); err != nil || out.String() != hostile {
		t.Errorf("a pipe got %q, error %v", out.String(), err)
	}
	terminal, shown := openTerminal(t)
	if err := Data(terminal, "\tx"+hostile+"\n"); err != nil {
		t.Fatal(err)
	}
	text := shown()
	if r := raw(strings.NewReplacer("\r\n", "\n", "\t", "").Replace(text)); r >= 0 || !strings.Contains(text, "x") {
		t.Errorf("a terminal got %U in %q", r, text)
	}
}

func TestJSONSaysTheSameWithItsEscapes(t *testing.T) {
	var out bytes.Buffer
	if err := JSON(&out, "", []string{hostile, "\U000e0041"}); err != nil {
		t.Fatal(err)
	}
	var back []string
	if err := json.Unmarshal(out.Bytes(), &back); err != nil || back[0] != strings.ToValidUTF8(hostile, "\ufffd") || back[1] != "\U000e0041" {
		t.Errorf("%s is read back as %q, error %v", out.String(), back, err)
	}
}

func TestALineIsRewrittenAndClearedOnATerminalOnly(t *testing.T) {
	var out bytes.Buffer
	l := (&Printer{Name: "knock", W: &out, Terminal: true}).Line()
	l.Set("icmp …")
	l.Set("icmp …") // unchanged: not written again
	l.Set("icmp ✓")
	l.Clear()
	l.Set("late")
	if want := "\ricmp …\x1b[K\ricmp ✓\x1b[K\r\x1b[K"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
	out.Reset()
	l = (&Printer{Name: "knock", W: &out}).Line()
	l.Set("icmp ✓")
	l.Clear()
	if out.Len() > 0 {
		t.Errorf("wrote %q without a terminal", out.String())
	}
}

func TestTableColumnsAlignByWhatIsSeen(t *testing.T) {
	var out bytes.Buffer
	err := Table(&out, []string{"NAME", "OPENS"}, [][]string{
		{"数据", "3306/tcp"}, // four columns, six bytes
		{"ssh", "22/tcp"},
		{"two\nlines", ""},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := "NAME       OPENS\n" +
		"数据       3306/tcp\n" +
		"ssh        22/tcp\n" +
		"two lines\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}

func TestCutKeepsWithinTheWidth(t *testing.T) {
	for _, c := range []struct {
		name, text string
		width      int
		want       string
	}{
		{"fits", "knock", 5, "knock"},
		{"too long", "knocked", 5, "knoc…"},
		{"wide letters count twice", "数据库", 5, "数据…"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := Cut(c.text, c.width); got != c.want {
				t.Errorf("Cut(%q, %d) = %q, want %q", c.text, c.width, got, c.want)
			}
		})
	}
}

func TestTimesReadAsAPersonWouldSayThem(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0:                                "0s",
		-time.Second:                     "0s",
		59*time.Minute + 12*time.Second:  "59m 12s",
		time.Hour:                        "1h",
		time.Hour + 30*time.Second:       "1h", // only the two largest units
		49*time.Hour + 3*time.Minute:     "2d 1h",
		12*time.Second + 900*1e6:         "12s",
		10*time.Minute + 999*time.Second: "26m 39s",
	} {
		if got := Duration(d); got != want {
			t.Errorf("Duration(%v) = %q, want %q", d, got, want)
		}
	}
	for d, want := range map[time.Duration]string{
		400 * time.Microsecond:   "0.4 ms",
		9960 * time.Microsecond:  "10 ms",
		32 * time.Millisecond:    "32 ms",
		1234 * time.Millisecond:  "1.2 s",
		999600 * time.Nanosecond: "1.0 ms",
	} {
		if got := Latency(d); got != want {
			t.Errorf("Latency(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestATimeThatIsFarAheadHasItsDate(t *testing.T) {
	now := time.Date(2027, 1, 2, 15, 0, 0, 0, time.UTC)
	for ahead, want := range map[time.Duration]string{
		time.Minute:    "15:01:00 UTC",
		10 * time.Hour: "01:00:00 UTC",
		24 * time.Hour: "2027-01-03 15:00:00 UTC",
	} {
		if got := Clock(now.Add(ahead), now); got != want {
			t.Errorf("Clock after %v: %q, want %q", ahead, got, want)
		}
	}
}

func TestClosestIsNeverTheOpposite(t *testing.T) {
	among := []string{"install", "import", "unban", "description", "no-verify", "allow-lockout", "enable"}
	for word, want := range map[string]string{
		"uninstall": "", "uninstal": "", "unistall": "", "deinstall": "", "disinstall": "", "export": "", "exprt": "", "ban": "", "bann": "", "disable": "",
		"verify": "", "no-allow-lockout": "", "disallow-lockout": "",
		"unbna": "unban", "descripton": "description", "no-verfy": "no-verify", "instal": "install", "improt": "import", "alow-lockout": "allow-lockout",
	} {
		if got := Closest(word, among); got != want {
			t.Errorf("Closest(%q) = %q, want %q", word, got, want)
		}
	}
}

func TestClosestForgivesASlipButDoesNotGuess(t *testing.T) {
	among := []string{"install", "remove", "status", "ssh", "mysql"}
	for word, want := range map[string]string{
		"instal":  "install",
		"staus":   "status",
		"stauts":  "status", // neighbours swapped are one slip
		"mysq":    "mysql",
		"sh":      "ssh",
		"destroy": "",
		"x":       "",
		"":        "",
	} {
		if got := Closest(word, among); got != want {
			t.Errorf("Closest(%q) = %q, want %q", word, got, want)
		}
	}
}

func TestAPictureIsLightOnDarkOnEveryTerminal(t *testing.T) {
	var out bytes.Buffer
	(&Printer{Name: "knock", W: &out}).Picture("code", "█ ▀\n▄ █\n")
	if want := "█ ▀\n▄ █\n"; out.String() != want {
		t.Errorf("a pipe got %q, want %q", out.String(), want)
	}
	out.Reset()
	(&Printer{Name: "knock", W: &out, Color: true}).Picture("code", "█ ▀\n")
	if want := whiteOnBlack + "█ ▀" + reset + "\n"; out.String() != want {
		t.Errorf("with colours: %q, want %q", out.String(), want)
	}
	terminal, shown := openTerminal(t) // of unknown width, so of 80 columns
	(&Printer{Name: "knock", W: terminal, Terminal: true}).Picture("code", strings.Repeat("█", 81)+"\n")
	if want := "knock: warning: the code needs 81 columns, and the terminal has 80: make it wider\r\n"; shown() != want {
		t.Error("a terminal that is too narrow was not told so")
	}
}
