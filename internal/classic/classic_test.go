package classic_test

import (
	"strings"
	"testing"

	"knockkit/internal/classic"
	"knockkit/protocol/format"
)

const door = "\tsequence = 5001,3001,4001\n\ttcpflags = syn\n\tcommand = iptables -I INPUT -s %IP% -p tcp --dport 22 -j ACCEPT\n"

func TestWhatIsNoTextOrTooLargeIsRefused(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"too large":     {"[a]\n" + door + strings.Repeat("# more\n", classic.MaxSize/7), "more than 1048576 is no configuration"},
		"not UTF-8":     {"[a\xff]\n" + door, "not text in UTF-8"},
		"empty":         {"", "no section"},
		"a long line":   {"[options]\n\tlogfile = " + strings.Repeat("1", 4096) + "\n[a]\n" + door, "the classic daemon reads 4095 at most"},
		"a long entry":  {"PORTKNOCKING = \"" + strings.Repeat("22;TCP;20;1;2;3,", 300) + "\"\n", "more than 4095 is no setting"},
		"many sections": {strings.Repeat("[a]\n"+door, 300), "the rest of the file is not looked at"},
	} {
		_, err := classic.Read("knockd.conf", []byte(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, c.want)
		}
	}
}

// One fault of a section costs that section, and the ones beside it are imported.
func TestAFaultCostsItsOwnSectionOnly(t *testing.T) {
	const other = "[b]\n\tsequence = 5002,3002,4002\n\tcommand = iptables -I INPUT -s %IP% -p tcp --dport 80 -j ACCEPT\n"
	for name, c := range map[string]struct{ section, want string }{
		"a long line":         {"[a]\n" + door + "\ttarget = " + strings.Repeat("1", 4096) + "\n", "the classic daemon reads 4095 at most"},
		"a fork's setting":    {"[a]\n" + door + "\tseq_cooldown = 5\n", `no setting "seq_cooldown"`},
		"no value":            {"[a]\n" + door + "\ttcpflags\n", "neither a title nor a setting"},
		"a title's bracket":   {"[a\n" + door, "not the title of a section"},
		"many wrong settings": {"[a]\n" + door + strings.Repeat("\tseq_cooldown = 5\n", 100), `no setting "seq_cooldown"`},
	} {
		for _, text := range []string{c.section + other, other + c.section} {
			im, err := classic.Read("knockd.conf", []byte(text))
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			check(t, im)
			if len(im.Profiles) != 1 || im.Profiles[0].Name != "b" || len(im.Left) != 1 || im.Left[0].Title != "a" {
				t.Errorf("%s: profiles %v, left %v; want b and a", name, im.Profiles, im.Left)
			}
			var said []string
			for _, n := range im.Remarks {
				if n.Section == "a" {
					said = append(said, n.Message)
				}
			}
			if len(said) == 0 || len(said) > 20 || !strings.Contains(said[0], c.want) {
				t.Errorf("%s: said %q, want up to 20 remarks, the first with %q", name, said, c.want)
			}
		}
	}
}

func TestALineOfTheFileCannotBecomeALineOfTheProfile(t *testing.T) {
	im, err := classic.Read("a\nopen = [\"1/tcp\"]\n", []byte("[a\u2028open = \x1b[2J]\n"+door))
	if err != nil {
		t.Fatal(err)
	}
	check(t, im)
	if len(im.Profiles) != 1 {
		t.Fatalf("%d profiles, want 1: %v", len(im.Profiles), im.Remarks)
	}
	for line := range strings.Lines(im.Profiles[0].Text) {
		if strings.Contains(line, "open =") && !strings.HasPrefix(line, "#") && line != "open = [\"22/tcp\"]\n" {
			t.Errorf("the profile has the line %q", line)
		}
		if strings.ContainsAny(line, "\x1b\u2028") {
			t.Errorf("a line can drive a terminal: %q", line)
		}
	}
}

// Wherever the words stand, a command that is not understood to its last word makes
// no profile.
func TestOneWordMoreThanIsUnderstoodLeavesTheSection(t *testing.T) {
	for _, command := range []string{
		"iptables -I INPUT -s %IP% -p tcp --dport 22 -j ACCEPT",
		"ufw allow from %IP% to any port 22 proto tcp",
		"nft insert rule inet filter input ip saddr %IP% tcp dport 22 accept",
		"firewall-cmd --add-rich-rule='rule family=ipv4 source address=%IP% port port=22 protocol=tcp accept'",
		"firewall-cmd --add-rich-rule='rule family=ipv4 source address=%IP% service name=ssh accept'",
		"sudo -n iptables -I INPUT -s %IP% -p tcp --dport 22 -j ACCEPT",
		"iptables -C INPUT -s %IP% -p tcp --dport 22 -j ACCEPT 2>/dev/null || iptables -I INPUT -s %IP% -p tcp --dport 22 -j ACCEPT",
	} {
		read := func(command string) *classic.Import {
			im, err := classic.Read("knockd.conf", []byte("[a]\nsequence = 5001,3001,4001\ncommand = "+command+"\n"))
			if err != nil {
				t.Fatal(err)
			}
			check(t, im)
			return im
		}
		if im := read(command); len(im.Profiles) != 1 {
			t.Errorf("%s makes no profile: %v", command, im.Remarks)
		}
		words := strings.SplitAfter(command, " ")
		for i := range len(words) + 1 {
			odd := strings.Join(words[:i], "") + " oddity " + strings.Join(words[i:], "")
			if im := read(odd); len(im.Profiles) > 0 {
				t.Errorf("%s makes a profile:\n%s", odd, im.Profiles[0].Text)
			}
		}
	}
}

// What a hint tells a person to write must be understood when they have.
func TestWhatAHintSaysToWriteIsUnderstood(t *testing.T) {
	read := 0
	for name, archive := range golden(t) {
		im, err := classic.Read(archive.Files[0].Name, archive.Files[0].Data)
		if err != nil {
			continue
		}
		for _, n := range im.Remarks {
			_, rest, found := strings.Cut(n.Hint, " `")
			command, _, ends := strings.Cut(rest, "`")
			if tool, _, _ := strings.Cut(command, " "); !found || !ends || n.Severity != format.SeverityError || !strings.Contains(n.Hint, "write") || !strings.Contains("iptables nft ufw firewall-cmd", tool) {
				continue
			}
			command = strings.NewReplacer("-D INPUT", "-I INPUT", "PORT", "22", "remove-rich", "add-rich").Replace(command)
			again, err := classic.Read("knockd.conf", []byte("[a]\nsequence = 5001,3001,4001\ncommand = "+command+"\n"))
			if err != nil || len(again.Profiles) != 1 {
				t.Errorf("%s: the hint %q makes no profile: %v, %v", name, n.Hint, err, again)
			}
			read++
		}
	}
	if read < 8 {
		t.Errorf("%d hints with a command, want at least 8", read)
	}
}
