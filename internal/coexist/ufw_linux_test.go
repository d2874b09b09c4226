package coexist

import "testing"

func TestBesideUFW(t *testing.T) {
	t.Parallel()
	each(t, []string{"ufw"}, func(t *testing.T, m *machine) {
		m.types("ufw-deny")
		m.sh("ufw --force enable")
		m.leavesAlone()
		m.sh("ufw disable; knockd install")
		m.before()
		m.visit("ufw is off")
		for _, step := range []struct{ row, lines string }{
			{"`ufw enable`", "ufw --force enable"},
			{"`ufw allow 3306/tcp`", block(t, "sh", "ufw-allow")},
			{"`ufw reload`", "ufw reload"},
			{"`ufw disable`", "ufw disable"},
		} {
			m.sh(step.lines)
			m.visit(step.row)
			if !m.right() {
				t.Errorf("%s: our rules are not as they were", step.row)
			}
		}
		m.compare("ufw")
	})
}

// TestWhatUFWFlushesComesBack: it has one command that takes away everybody's rules.
func TestWhatUFWFlushesComesBack(t *testing.T) {
	t.Parallel()
	each(t, []string{"ufw"}, func(t *testing.T, m *machine) {
		m.serve()
		m.before()
		m.sh("/lib/ufw/ufw-init flush-all")
		m.repaired()
		if m.gets(m.newcomer(), 3306) || !m.gets(m.early, 3306) {
			t.Error("the gate is open, or a lease is lost")
		}
	})
}
