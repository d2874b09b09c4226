// Package coexist holds the tests of knockd beside the firewalls that hosts already
// have: ufw, firewalld, /etc/nftables.conf, fail2ban, and the rules that container
// engines write. The tools are the real ones, on a host whose /etc, /run and /var/log
// are its own; commands, files and tables come from docs/coexistence.md, so that the
// page says what was run, and what came of it. It has no code of its own.
package coexist
