package main

// peek is how one looks at what the kernel holds: lines of shell, for the server.
type peek struct {
	all      string // every rule of the host
	position string // what may come after the second knock
	leases   string // who is in over IPv4
}

// peeks returns how to look, by the name of the backend.
func peeks() map[string]peek {
	return map[string]peek{
		"iptables": {
			all:      "iptables -S; ip6tables -S",
			position: "iptables -S KNOCKD-AT-mysql.2 | sed 's/ --mask [^ ]* --rsource//'", // too long to read
			leases:   "cat /proc/net/xt_recent/mysql.open.KNOCKD4",
		},
		"nftables": {
			all:      "nft list ruleset",
			position: "nft list map inet knockd edges4",
			leases:   "nft list set inet knockd open4-mysql",
		},
	}
}
