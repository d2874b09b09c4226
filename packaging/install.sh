#!/bin/sh
# Copies what `make build` has put into BIN to DESTDIR and PREFIX: install.sh install
# PROGRAM..., or removes the same files again: install.sh uninstall PROGRAM... Root's
# PATH often has no go: none is asked, and none of the programs is run.
set -eu

fail() {
	echo "$*" >&2
	exit 1
}

PREFIX=${PREFIX%/}
case $PREFIX in
*[!A-Za-z0-9/._+-]*) fail "PREFIX=$PREFIX: letters, digits and /._+- only, as it stands in the unit" ;;
'' | /*) ;;
*) fail "PREFIX=$PREFIX is no absolute path: write PREFIX=$PWD/$PREFIX" ;;
esac

do=$1
shift
linux=
test "$(uname -s)" != Linux || linux=yes

# files calls a function with each file, its path below PREFIX and its mode.
files() { # FUNCTION PROGRAM...
	each=$1
	shift
	for program; do
		page=man1/$program.1
		test $program != knockd || page=man8/$program.8
		$each "$BIN/$program" bin/$program 755
		for path in man/$page bash-completion/completions/$program fish/vendor_completions.d/$program.fish zsh/site-functions/_$program; do
			$each "$BIN/share/$path" share/$path 644
		done
	done
	test -z "$linux" || $each packaging/modprobe.d/00-knockkit.conf lib/modprobe.d/00-knockkit.conf 644
}

copy() { # FILE PATH MODE
	if ! test -e "$1"; then
		echo "$1 is missing, and left out: make build writes it" >&2
		return
	fi
	to=$DESTDIR$PREFIX/$2
	install -d "${to%/*}"
	install -m "$3" "$1" "$to"
	echo "$to"
}

remove() { # FILE PATH
	rm -f "$DESTDIR$PREFIX/$2"
}

# ours tells our unit from that of the classic daemon, whose name is the same.
ours() { # FILE
	grep -q '^ExecStart=.*/knockd run$' "$1"
}

unit=$DESTDIR$PREFIX/lib/systemd/system/knockd.service

# The unit is of the package, but for the paths of the program and of its pages, which
# are not installed.
copyUnit() {
	for dir in etc lib usr/lib; do
		theirs=$DESTDIR/$dir/systemd/system/knockd.service
		if test -e "$theirs" && ! ours "$theirs"; then
			echo "the unit is left out, as it would take the place of $theirs: install again when that is gone" >&2
			return
		fi
	done
	install -d "${unit%/*}"
	sed -e "s|^ExecStart=/usr/sbin/|ExecStart=$PREFIX/bin/|" -e '/^Documentation=/s| file:.*||' packaging/systemd/knockd.service |
		install -m 644 /dev/stdin "$unit"
	echo "$unit"
}

case $do in
install)
	for program; do
		test -x "$BIN/$program" || fail "$BIN/$program is missing: run make build first"
	done
	files copy "$@"
	test -z "$linux" || copyUnit
	;;
uninstall)
	files remove "$@"
	if test "$linux" && test -e "$unit" && ours "$unit"; then
		rm -f "$unit"
	fi
	test "$DESTDIR" || test -z "$linux" || echo "the files are gone; rules in the kernel and /etc/knockd are left as they were" >&2
	;;
esac
