package coexist

import "strings"

// warned fails unless `knockd status` warns of rules of others in these words; none:
// unless it warns of nothing. `install`, `run` and `doctor` say the same.
func (m *machine) warned(words ...string) {
	m.t.Helper()
	said := m.try("knockd", "status").Stderr
	for _, w := range words {
		if !strings.Contains(said, w) {
			m.t.Errorf("knockd status does not say %q but\n%s", w, said)
		}
	}
	if len(words) == 0 && said != "" {
		m.t.Errorf("knockd status warns of\n%s", said)
	}
}
