package packaging

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"knockkit/internal/lab/labtest"
)

// upgradesUnderSystemd boots the machine, which then upgrades a service that runs
// while a lease is alive, and removes it; then comes and goes what `make install` puts
// there. The network is the machine's own.
func upgradesUnderSystemd(m *machine, b built) {
	labtest.Need(m.t, "systemd-nspawn")
	m.Inside("dpkg", "--purge", "knockd")
	script := `set -eux
exec > /root/log 2>&1
pid() { systemctl show --property MainPID --value knockd; }
` + m.page("install", b.old) + `
test "$(systemctl is-enabled knockd)" = disabled
test "$(systemctl is-active knockd)" = inactive
` + m.page("enable", b.old) + `
knockd profile new mysql
knockd install mysql # the service might be slower
knockd grant mysql 198.51.100.7
was=$(pid)
` + m.page("install", b.new) + `
test "$was" != 0
test "$(pid)" != 0
test "$(pid)" != "$was"
systemctl is-active knockd
systemctl is-enabled knockd
test "$(stat -c %a /var/lib/knockd)" = 700
knockd status --check
knockd status --json | grep 198.51.100.7
` + m.page("remove", b.new) + `
test "$(systemctl is-active knockd)" = inactive
if iptables-save | grep KNOCKD; then exit 1; fi

cd /sources
files() { find /usr /etc/systemd ! -type d | sort; }
files > /root/before
rm /etc/knockd/profiles/mysql.toml
printf 'signed = { carrier = "icmp" }\nopen = ["2222/tcp"]\n' > /etc/knockd/profiles/admin.toml
rm -f /var/lib/knockd/signed.json
make install BIN=/built
hash -r # the shell goes on with /usr/sbin/knockd otherwise
` + m.page("enable", b.new) + `
test "$(systemctl show --property FragmentPath --value knockd)" = /usr/local/lib/systemd/system/knockd.service
knockd status --check
timeout 30 sh -c 'until test -s /var/lib/knockd/signed.json; do sleep 0.1; done'
systemctl status knockd | grep 'signed profiles are shut until'
` + m.page("uninstall", b.new) + `
test "$(systemctl is-active knockd)" = inactive
if iptables-save | grep KNOCKD; then exit 1; fi
test -z "$(files | comm -13 /root/before -)"
echo done > /root/done
`
	const unit = `[Unit]
SuccessAction=poweroff-force
FailureAction=poweroff-force
After=sysinit.target

[Service]
Type=oneshot
ExecStart=/bin/sh /root/script
`
	for path, text := range map[string]string{
		"/root/script":                       script,
		"/etc/systemd/system/script.service": unit,
	} {
		if err := os.WriteFile(m.Tree+path, []byte(text), 0o644); err != nil {
			m.t.Fatal(err)
		}
	}
	sources, err := filepath.Abs("..")
	if err != nil {
		m.t.Fatal(err)
	}
	built := makeBuild(m.t)
	ctx, cancel := context.WithTimeout(m.t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "systemd-nspawn", "--directory", m.Tree, "--boot", "--private-network", "--capability=all",
		"--bind-ro="+sources+":/sources", "--bind-ro="+built+":/built",
		"--register=no", "--keep-unit", "--link-journal=no", "--quiet", "--", "systemd.unit=script.service").CombinedOutput()
	if _, missing := os.Stat(m.Tree + "/root/done"); missing != nil {
		log, _ := os.ReadFile(m.Tree + "/root/log")
		m.t.Errorf("the machine has not come to the end (%v)\n%s\n%s", err, log, out)
	}
}
