package docs

import (
	"fmt"
	"testing"

	"knockkit/internal/lab"
)

func (m *machine) fail2ban() *daemon {
	m.t.Helper()
	d := m.start("fail2ban-server", "-f", "--logtarget", "stdout")
	m.eventually("fail2ban works", soon, func() bool { return d.says("Server ready") > 0 })
	return d
}

// TestBesideFail2ban bans an address that knocks. With the first ban of a jail fail2ban
// puts its own jump first; the service, which starts later, puts ours first again.
func TestBesideFail2ban(t *testing.T) {
	t.Parallel()
	for _, action := range []string{"iptables", "nftables"} {
		t.Run("it bans with "+action, func(t *testing.T) {
			t.Parallel()
			each(t, []string{"fail2ban-server"}, func(t *testing.T, m *machine) {
				m.has("ini", "/etc/fail2ban/jail.d/mysql.local")
				m.sh("rm /etc/fail2ban/jail.d/defaults-debian.conf; touch /var/log/mysql.log")
				if action == "nftables" {
					m.has("ini", "/etc/fail2ban/jail.d/action.local")
				}
				daemon := m.fail2ban()
				ban := fmt.Sprintf("fail2ban-client set mysqld-auth banip %s %s", lab.ForgedAddr4(barred), lab.ForgedAddr6(barred))
				m.sh(ban)
				m.leavesAlone()
				m.sh("fail2ban-client unban --all; knockd install")
				m.stop(daemon)
				m.before()
				daemon = m.fail2ban()
				m.visit("nobody is banned")
				m.sh(ban)
				m.visit("banned")
				m.serve()
				m.visit("`knockd run` starts")
				m.sh("fail2ban-client reload")
				m.repaired()
				m.visit("`fail2ban-client reload`")
				m.stop(daemon)
				m.repaired()
				m.visit("fail2ban stops")
				m.compare(fmt.Sprintf("fail2ban with `banaction = %s`", map[string]string{"iptables": "iptables-multiport", "nftables": "nftables"}[action]))
			})
		})
	}
}
