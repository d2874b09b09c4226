#!/bin/sh
# Debian: the files are gone.
set -e

if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
	systemctl --system daemon-reload > /dev/null || true
fi

if [ "$1" = purge ]; then
	if command -v deb-systemd-helper > /dev/null; then
		deb-systemd-helper purge knockd.service > /dev/null || true
	fi
	# Profiles and keys are secrets: none is left behind.
	rm -rf /etc/knockd /var/lib/knockd
fi
