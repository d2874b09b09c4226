package docs

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"knockkit/internal/lab/labtest"
	"knockkit/protocol"
)

// TestTheCommandsOfTheREADMEDoWhatItSays runs every sh block, in order. What stands
// behind "sh" says where: here (the project's folder, on both machines), server, laptop,
// or undo (the server, at the end).
func TestTheCommandsOfTheREADMEDoWhatItSays(t *testing.T) {
	t.Parallel()
	n := newNewcomer(t)
	n.greet()
	places := map[string][]string{"here": {"server", "laptop"}, "server": {"server"}, "laptop": {"laptop"}, "undo": {"server"}}
	// What a connection from the laptop gets after the latest block of each place.
	open := map[string]bool{"here": true, "server": false, "laptop": true, "undo": true}
	run := map[string]int{}
	knocked := false
	var signed []Block
	for _, b := range only(blocks(t, "README.md", "sh", "text"), "sh") {
		if place, is := strings.CutSuffix(b.About, " signed"); is {
			signed = append(signed, Block{About: place, Text: b.Text})
			continue
		}
		if places[b.About] == nil {
			t.Fatalf("a block of commands is for %q, which is nowhere:\n%s", b.About, b.Text)
		}
		run[b.About]++
		var said string
		for _, machine := range places[b.About] {
			said = n.types(machine, b)
		}
		knocked = knocked || b.About == "laptop"
		want := open[b.About] || knocked
		if got := n.reaches(); got != want {
			t.Errorf("after these commands on %q MySQL answers the laptop: %v, want %v\n%s\n%s", b.About, got, want, b.Text, said)
		}
		if b.About == "laptop" && !strings.Contains(said, greeting) {
			t.Errorf("the command after -- did not reach MySQL:\n%s", said)
		}
	}
	for place := range places {
		if run[place] == 0 {
			t.Errorf("the README has no commands for %q", place)
		}
	}
	if rules := n.machines["server"].Inside("iptables", "-S"); strings.Contains(rules, "KNOCKD") {
		t.Errorf("at the end the server has still these rules:\n%s", rules)
	}
	n.followSigned(signed)
}

// followSigned types the blocks about signed profiles, where mysql has been removed.
func (n *newcomer) followSigned(all []Block) {
	n.t.Helper()
	if len(all) != 4 {
		n.t.Fatalf("the README has %d blocks about signed profiles, want 4", len(all))
	}
	n.stubSystemctl()
	for i, b := range all {
		switch last := i == len(all)-1; {
		case last: // at the first start it is shut for up to a minute
			labtest.Eventually(n.t, 3*time.Minute, func() error {
				if out := n.tries(b.About, b); out.Code != 0 {
					return fmt.Errorf("exit %d\n%s", out.Code, out.Stdout+out.Stderr)
				}
				return nil
			})
		default:
			n.types(b.About, b)
		}
		n.port22(i != len(all)-2)
	}
	if said := n.types("server", Block{Text: "sudo knockd status\n"}); !strings.Contains(said, "alice-laptop") {
		n.t.Errorf("status does not say who came:\n%s", said)
	}
}

func TestTheDiagramOfThePageIsTheMachineOfTheExample(t *testing.T) {
	diagrams := only(blocks(t, "docs/how-it-works.md", "text", "iptables", "mermaid"), "mermaid")
	if len(diagrams) != 1 {
		t.Fatalf("the page has %d diagrams, want 1", len(diagrams))
	}
	a, err := protocol.Compile([]*protocol.Profile{example(t, "mysql")}, protocol.IPv4)
	if err != nil {
		t.Fatal(err)
	}
	if want := protocol.Mermaid(a); diagrams[0].Text != want {
		t.Errorf("the page shows\n%s\nand `knockd graph mysql` draws\n%s", diagrams[0].Text, want)
	}
}
