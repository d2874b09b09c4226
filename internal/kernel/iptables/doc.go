// Package iptables runs the automaton as iptables rules with `-m recent`, one
// recency table for each state: the machine of the article, for any number of
// profiles.
//
// The pure half turns an automaton into the text that iptables-restore commits (ruleset.go), and
// reads what iptables-save and /proc/net/xt_recent print. The kernel is touched in backend.go, read.go,
// tool.go, proc.go and module.go.
//
// # Chains
//
//	INPUT -j KNOCKD            one jump, at position 1
//	KNOCKD                     is the packet an event, and its source in a position?
//	KNOCKD-PROGRESS            which position is the source in?
//	KNOCKD-NEXT-mysql.1        a source after knock 1 of mysql: what may come next
//	KNOCKD-ENTER-mysql.2       knock 2 of mysql: the source enters the position, and gets its reply
//	KNOCKD-STAY-mysql.2        the same knock again, where entering grants: no grants
//	KNOCKD-OVER                the source starts over
//	KNOCKD-TCP, KNOCKD-UDP     first knocks and gates, by port (split in four where there are many)
//	KNOCKD-ICMP                the first knock `icmp`
//	KNOCKD-GATE-mysql          does the source hold a lease?
//	KNOCKD-OPEN-mysql          the profile's own rules, if any, then ACCEPT
//	KNOCKD-SHUT-mysql          no lease: report it, then what `closed` says
//	KNOCKD-CUT                 established connections of profiles with `cut`
//	KNOCKD-STRAY               no event: a gate treats it as a connection without a lease
//	KNOCKD-LATE                the slower of two packets at once: no knock, but gates are asked
//	KNOCKD-PRE, KNOCKD-PRE-…   in mangle: gates before destination NAT (place = "prerouting")
//	KNOCKD-BANNED, KNOCKD-BAN, KNOCKD-FALL   with the setting `ban`
//	KNOCKD-ABOUT               never jumped to: the record
//
// Rules are written in the form in which iptables-save prints them, so that they can be compared with
// those in the kernel line by line.
package iptables
