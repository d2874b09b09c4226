#!/bin/sh
# Debian: the files are about to go, or (upgrade) to be replaced: then rules stay.
set -e

[ "$1" = remove ] && [ -z "${DPKG_ROOT:-}" ] || exit 0

# First who would put the rules back.
if [ -d /run/systemd/system ]; then
	deb-systemd-invoke stop knockd.service > /dev/null || true
fi

# What is installed stands in the kernel. The configuration, which may be broken, is
# not asked: a folder without one stands in for it.
empty=$(mktemp -d)
/usr/sbin/knockd --config "$empty" remove --all ||
	echo "knockkit: rules of knockd may be left: look for KNOCKD in iptables-save, and for a table inet knockd in nft list ruleset" >&2
rmdir "$empty"
