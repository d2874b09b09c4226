package docs

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
		var shut []string // what it warns of while ufw has not let the port through
		if m.backend == "nftables" {
			shut = []string{"3306/tcp of profile mysql is dropped behind the gate, by ufw: ", "`ufw allow 3306/tcp`"}
		}
		for _, step := range []struct {
			row, lines string
			warnings   []string
		}{
			{"`ufw enable`", "ufw --force enable", shut},
			{"`ufw allow 3306/tcp`", block(t, "sh", "ufw-allow"), nil},
			{"`ufw reload`", "ufw reload", nil},
			{"`ufw disable`", "ufw disable", nil},
		} {
			m.sh(step.lines)
			m.visit(step.row)
			m.warned(step.warnings...)
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
