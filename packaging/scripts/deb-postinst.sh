#!/bin/sh
# Debian: the files are there.
set -e

case "$1" in
configure | abort-upgrade | abort-deconfigure | abort-remove) ;;
*) exit 0 ;;
esac

# A new installation does not enable the service: it would close a port as soon as a
# profile for it is written, before anybody has read it. What was enabled stays so.
if deb-systemd-helper debian-installed knockd.service; then
	deb-systemd-helper unmask knockd.service > /dev/null || true
	if deb-systemd-helper --quiet was-enabled knockd.service; then
		deb-systemd-helper enable knockd.service > /dev/null || true
	fi
fi
deb-systemd-helper update-state knockd.service > /dev/null || true

# Where it runs it starts anew: rules and leases stay meanwhile.
if [ -d /run/systemd/system ]; then
	systemctl --system daemon-reload > /dev/null || true
	if [ -n "$2" ]; then
		deb-systemd-invoke try-restart knockd.service > /dev/null || true
	fi
fi
