package docs

import (
	"strings"
	"testing"
)

func TestBesideNftablesConf(t *testing.T) {
	t.Parallel()
	each(t, nil, func(t *testing.T, m *machine) {
		with := block(t, "nft", "/etc/nftables.conf")
		without := strings.Replace(with, "\t\ttcp dport 3306 accept\n", "", 1)
		flushing := strings.Replace(with, "table inet filter\ndelete table inet filter\n", "flush ruleset\n", 1)
		early := strings.Replace(with, "priority filter + 10;", "priority filter;", 1)
		if without == with || flushing == with || early == with {
			t.Fatal("the file is not what this test takes it for")
		}
		load := func(text string) {
			m.write("/etc/nftables.conf", text)
			m.types("nftables-load")
		}
		load(with)
		m.leavesAlone()
		m.sh("nft flush ruleset; knockd install")
		m.before()
		m.visit("not loaded")
		load(without)
		m.visit("without the line for 3306/tcp")
		m.warned("3306/tcp of profile mysql is dropped behind the gate, by the policy of chain input of table inet filter (nft)", "put `tcp dport 3306 accept` in front of that")
		load(with)
		m.visit("with the line")
		m.warned()
		load(with)
		m.visit("loaded again")
		load(early)
		m.visit("with `priority filter`")
		if m.backend == "iptables" {
			m.warned("profile mysql hears 2 of its knocks only while our rules are in front of the policy of chain input of table inet filter (nft)", "`priority filter + 10`")
		}
		if !m.right() {
			t.Error("our rules are not as they were")
		}
		m.serve()
		load(flushing)
		m.repaired()
		m.visit("with `flush ruleset`, and `knockd run`")
		m.compare("`/etc/nftables.conf`")

		m.stop(m.service)
		load(flushing)
		// Nobody repairs it. What iptables-legacy has is in no ruleset of nftables.
		if open := m.gets(m.newcomer(), 3306); open != (m.flavour != "legacy") {
			t.Errorf("after `flush ruleset` without the service strangers get in: %v", open)
		}
	})
}
