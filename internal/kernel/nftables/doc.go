// Package nftables runs the automaton in one nftables table of its own: positions
// are a map from source to state, all edges are one verdict map, all gates another.
// A packet costs the same few hash look-ups with one profile or a thousand.
//
// One reading, one plan, one commit: [Backend.Read] asks the kernel over netlink (netlink.go,
// read.go). From the reading to the plan all is pure. [Backend.Commit] runs the plan's texts with
// `nft -f` (backend.go, tool.go). The automata of both families
// become a ruleset (render.go), and a plan is what differs between that and the ruleset
// in the kernel (transaction.go).
//
// # The seal
//
// After a commit, each chain, map and limit is read back from the kernel, and a digest of it is kept
// beside the rules (drift.go). A part that has another digest later has been changed, which is drift.
// The first transaction of a commit takes the seal away.
//
// # Chains of table inet knockd
//
//	input                    is the packet an event?
//	progress4, progress6     is the source in a position? (map position4, position6)
//	next4, next6             what may come next in its position? (map edges4, edges6)
//	reset-mysql.1            report that the source leaves the position (map resets4, resets6)
//	over                     the source starts over
//	first4, first6           is it a first knock? (map starts4, starts6)
//	other, close-tcp-9000    is it a close knock? (map closes)
//	enter-mysql.2            knock 2 of mysql: the source enters the position, and gets its reply
//	stay-mysql.2             the same knock again: no grants
//	first-, to-, again-…     is the packet in the scope? (of a first knock, the next, the same again)
//	gate                     is the port gated? (map gates)
//	gate-tcp-3306            does the source hold a lease? (sets open4-mysql, open6-mysql)
//	open-mysql               the profile's extra rules, then accept
//	cut, cut-tcp-3306        established connections of profiles with `cut`
//	prerouting, pre-…        gates before destination NAT, of profiles with place = "prerouting"
//	fall, ban                with the setting `ban`
//	about                    never reached: the record
//	seal                     never reached: the digests
//	barrier, barrier-pre     ports that are shut while their gates change
//
// # The scratch register
//
// The state of a source has to be in a register before it can be part of a key. A rule can write
// fields of the packet, or of its connection. The packet mark and the connection mark are the
// operator's. The packet's priority has no use behind the input hook: it is written for sources in a
// position only, and reset afterwards.
package nftables
