package docs

import "strings"

// warned fails unless `knockd install` and `knockd status` both warn of rules of others
// in these words; none: unless they warn of nothing.
func (m *machine) warned(words ...string) {
	m.t.Helper()
	for _, command := range []string{"install", "status"} {
		out := m.try("knockd", command)
		said := out.Stdout + out.Stderr
		for _, w := range words {
			if !strings.Contains(said, w) {
				m.t.Errorf("knockd %s does not say %q but\n%s", command, w, said)
			}
		}
		if len(words) == 0 && strings.Contains(said, "3306/tcp of profile mysql") {
			m.t.Errorf("knockd %s warns of\n%s", command, said)
		}
	}
}
