// Package iptables runs the automaton as iptables rules with `-m recent`, one
// recency table for each state: the machine of the article, for any number of
// profiles.
//
// The pure half turns an automaton into the text that iptables-restore commits
// ([Render]) and reads back what iptables-save and /proc/net/xt_recent say. The
// half that touches the kernel is in tool.go and proc.go.
//
// # Chains
//
//	INPUT -j KNOCKD            one jump, at position 1
//	KNOCKD                     sorts packets: not an event, in a position, a stranger
//	KNOCKD-PROGRESS            which state is the source in?
//	KNOCKD-NEXT-mysql.1        a source after knock 1 of mysql: what may come next
//	KNOCKD-ENTER-mysql.2       knock 2 of mysql: the source enters the position, and gets its reply
//	KNOCKD-STAY-mysql.2        the same knock again, where entering grants: no grants
//	KNOCKD-OVER                anything else: the source starts over
//	KNOCKD-TCP, KNOCKD-UDP     first knocks and gates, by port (split in four where there are many)
//	KNOCKD-ICMP                the first knock `icmp`
//	KNOCKD-GATE-mysql          does the source hold a lease?
//	KNOCKD-OPEN-mysql          the profile's own rules, if any, then ACCEPT
//	KNOCKD-SHUT-mysql          no lease: report it, then what `closed` says
//	KNOCKD-CUT                 established connections of profiles with `cut`
//	KNOCKD-STRAY               no event: at a gate like a connection without a lease
//	KNOCKD-LATE                two packets at once, the slower one: no knock, but gates are asked
//	KNOCKD-PRE, KNOCKD-PRE-…   in mangle: gates before destination NAT (place = "prerouting")
//	KNOCKD-BANNED, KNOCKD-BAN, KNOCKD-FALL   with the setting `ban`
//	KNOCKD-ABOUT               never jumped to: what is installed, and the tables
//
// Rules are written in the very form in which iptables-save prints them, so that
// what was committed and what is there can be compared line by line.
package iptables
