package docs

import (
	"regexp"
	"slices"
	"strings"
)

// counts is what packets change in a listing.
var counts = regexp.MustCompile(` \[\d+:\d+\]|packets \d+ bytes \d+`)

// theirs returns all rules of others: what the host's iptables saves, without our
// lines, and every table of nftables but ours and those of iptables.
func (m *machine) theirs() string {
	m.t.Helper()
	all := m.rules()
	return strings.Join(slices.DeleteFunc(all, func(line string) bool { return strings.Contains(line, "KNOCKD") }), "\n")
}

func (m *machine) rules() []string {
	m.t.Helper()
	text := m.sh(`for tool in iptables ip6tables; do $tool-save | sed '/^#/d'; done
nft list tables | sort | while read -r word family table; do
	case "$family $table" in "inet knockd" | ip*" "filter | ip*" "nat | ip*" "mangle | ip*" "raw | ip*" "security) continue;; esac
	nft list table "$family" "$table"
done`)
	return strings.Split(counts.ReplaceAllString(text, ""), "\n")
}

// leavesAlone installs and removes our rules, and fails when those of others are not
// what they were: while ours are there, and afterwards.
func (m *machine) leavesAlone() {
	m.t.Helper()
	// The empty filter table is what iptables may leave behind where it made one: make it.
	m.sh("for tool in iptables ip6tables; do $tool -N mine; $tool -X mine; done")
	was := m.theirs()
	m.sh("knockd install")
	if !m.right() {
		m.t.Errorf("knockd install did not install")
	}
	if is := m.theirs(); is != was {
		m.t.Errorf("while ours are there, the rules of others are\n%s\nand were\n%s", is, was)
	}
	m.knock(m.newcomer()) // tables have entries
	m.sh("knockd remove --all")
	if is := strings.Join(m.rules(), "\n"); is != was {
		m.t.Errorf("when ours have gone, the rules are\n%s\nand were\n%s", is, was)
	}
}
