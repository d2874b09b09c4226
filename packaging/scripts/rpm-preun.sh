#!/bin/sh
# RPM: the files are about to go ($1 is 0), or an old version's are ($1 is 1): then
# rules stay.
[ "$1" -eq 0 ] || exit 0

# First who would put the rules back.
if [ -d /run/systemd/system ]; then
	systemctl --no-reload disable --now knockd.service > /dev/null 2>&1 || :
fi

# What is installed stands in the kernel. The configuration, which may be broken, is
# not asked: a folder without one stands in for it.
empty=$(mktemp -d)
/usr/sbin/knockd --config "$empty" remove --all ||
	echo "knockkit: rules of knockd may be left: look for KNOCKD in iptables-save, and for a table inet knockd in nft list ruleset" >&2
rmdir "$empty"
