#!/bin/bash
# Tries the Windows client under Wine, in front of real gates: what docs/packages.md says
# of it was seen here. As root, from the project's folder: bash docs/wine.sh. It needs Go,
# perl, iproute2, Debian's wine64 and, for a Wine before 9, binutils-mingw-w64-x86-64.
# Addresses and rules are those of namespaces of its own. It takes about a minute.
set -euo pipefail

if test -z "${INSIDE-}"; then
	dir=$(mktemp -d)
	trap 'rm -rf "$dir"' EXIT
	CGO_ENABLED=0 go build -o "$dir/knockd" ./cmd/knockd
	GOOS=windows go build -o "$dir/knock.exe" ./cmd/knock
	# Wine lacks an ioctl that package net wants for UDP: the second program goes on without.
	net=$(go env GOROOT)/src/net/fd_windows.go
	sed '/SIO_UDP_NETRESET/,/^\t\t}/s/err != nil/false/' "$net" > "$dir/net.go"
	echo "{\"Replace\": {\"$net\": \"$dir/net.go\"}}" > "$dir/overlay"
	GOOS=windows go build -overlay "$dir/overlay" -o "$dir/knock-udp.exe" ./cmd/knock
	INSIDE=$dir unshare --net --mount --pid --fork --mount-proc bash "$0"
	exit
fi

cd "$INSIDE"
export HOME=$INSIDE WINEPREFIX=$INSIDE/wine WINEDEBUG=-all
wine=/usr/lib/wine/wine64
mount -t tmpfs tmpfs /run
ip netns add server
ip link add eth0 type veth peer name eth0 netns server
on() { ip netns exec server "$@"; }
ip link set lo up
on ip link set lo up
ip address add 198.51.100.2/24 dev eth0
ip address add 2001:db8::2/64 dev eth0 nodad
on ip address add 198.51.100.1/24 dev eth0
on ip address add 2001:db8::1/64 dev eth0 nodad
ip link set eth0 up
on ip link set eth0 up

mkdir -p -m 700 conf/profiles
profile() { printf 'sequence = [%s]\nopen = ["%s/tcp"]\n' "$2" "$3" > "conf/profiles/$1.toml"; }
profile tcp '"7421/tcp", "3190/tcp", "9002/tcp"' 3306
profile ping '"icmp", "3191/tcp"' 3307
profile udp '"7423/udp", "3192/udp"' 3308
printf 'signed = { carrier = "icmp" }\nopen = ["3309/tcp"]\n' > conf/profiles/sping.toml
printf 'signed = { carrier = "40123/udp" }\nopen = ["3310/tcp"]\n' > conf/profiles/sudp.toml
chmod 600 conf/profiles/*
on ./knockd --config conf install 2> /dev/null
for port in 3306 3307 3308 3309 3310; do
	on perl -MIO::Socket::IP -e '
		$s = IO::Socket::IP->new(LocalHost => "::", LocalPort => shift, Listen => 9, V6Only => 0) or die $@;
		alarm 300; close $c while $c = $s->accept' $port &
done

$wine --version
timeout 200 $wine wineboot --init 2> /dev/null
mine=$(find wine/drive_c/users -name Roaming)/knock
mkdir -p "$mine"
cp -r conf/profiles "$mine"
rm "$mine"/profiles/s*
system32=wine/drive_c/windows/system32
if ! test -e $system32/bcryptprimitives.dll; then
	echo "this Wine has no bcryptprimitives.dll, and Go starts on no Windows without: one is made"
	printf 'LIBRARY bcryptprimitives.dll\nEXPORTS\nProcessPrng = advapi32.SystemFunction036\n' > prng.def
	x86_64-w64-mingw32-dlltool -d prng.def -e prng.o -D bcryptprimitives.dll
	x86_64-w64-mingw32-ld -shared -e 0 -o $system32/bcryptprimitives.dll prng.o
fi

try() { # WORDS PROGRAM ARGUMENT...
	echo
	echo "$1: ${*:2}"
	timeout 60 $wine "${@:2}" 2>&1 && echo "exit 0" || echo "exit $?"
}
try "TCP knocks" knock.exe -4 tcp@198.51.100.1
try "TCP knocks, IPv6" knock.exe -6 tcp@2001:db8::1
try "a command" knock.exe -q -4 tcp@198.51.100.1 -- cmd /c echo opened at %KNOCK_ADDR%
try "a ping" knock.exe -4 ping@198.51.100.1
on ./knockd --config conf revoke ping --all
try "a ping at once again" knock.exe -4 ping@198.51.100.1
echo "31 s without one"
sleep 31
try "a ping then" knock.exe -4 ping@198.51.100.1
try "a ping, IPv6" knock.exe -6 ping@2001:db8::1
# A key that was made this moment opens without the service, for a minute.
enroll() { # PROFILE PROGRAM
	on ./knockd --config conf key add alice "$1" --audience db1 --host 198.51.100.1 2> /dev/null | timeout 60 $wine "$2" enroll -
}
enroll sping knock.exe
try "a signed knock in a ping" knock.exe -v -4 sping
enroll sudp knock-udp.exe
try "a signed knock in a datagram, without the ioctl" knock-udp.exe -v -4 sudp
try "UDP knocks" knock.exe -4 udp@198.51.100.1
try "UDP knocks without the ioctl" knock-udp.exe -4 udp@198.51.100.1
try "UDP knocks without the ioctl, IPv6" knock-udp.exe -6 udp@2001:db8::1
echo
on ./knockd --config conf status 2> /dev/null
