#!/bin/sh
# RPM: the files are gone, or ($1 is 1) an old version's are: the service, where it
# runs, starts anew. Rules and leases stay meanwhile.
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload > /dev/null 2>&1 || :
	if [ "$1" -ge 1 ]; then
		systemctl try-restart knockd.service > /dev/null 2>&1 || :
	fi
fi
