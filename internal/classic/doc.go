// Package classic reads the configurations of other knock daemons: /etc/knockd.conf
// of the classic knockd, /etc/config/knockd of OpenWrt's package of it, and the PORTKNOCKING
// setting of csf. It turns them into the
// texts of profiles, and says for each line what has changed.
//
// It is pure: text in, texts and remarks out. What a section does is read from its
// shell commands, and only those whose meaning is certain are taken: a section with
// anything else is left, with the reason. Nothing is guessed, nothing is run.
//
//	lines.go     text → sections and their settings; uci.go: those of OpenWrt
//	draft.go     a section → knocks and times; commands.go: what it opens, for how long
//	shell.go     a command line → commands and their words; steps.go: those that matter
//	rule.go      words → what they let in; iptables.go, ufw.go, nft.go, firewalld.go;
//	             hints.go: what to write instead of a command that is not understood
//	csf.go       the other format
//	compose.go   what was read → a profile's name and text, or one more reason to skip it
package classic
