#!/bin/sh
# Copies what `make build` has put into BIN to DESTDIR and PREFIX: install.sh install
# PROGRAM..., or removes the same files again: install.sh uninstall PROGRAM... Root's
# PATH often has no go: none is asked, and none of the programs is run.
#
# share/knockkit/installed has the sum of each file that was put there, whatever the
# version: what is not as it says is somebody else's, or was edited, and stays.
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
root=$DESTDIR$PREFIX
FORCE=${FORCE-}
list=$root/share/knockkit/installed
unit=lib/systemd/system/knockd.service
theirs=
nl='
'

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
	test "$linux" || return 0
	$each "$BIN/knockd-fleet" libexec/knockkit/knockd-fleet 755
	$each packaging/modprobe.d/00-knockkit.conf lib/modprobe.d/00-knockkit.conf 644
	test "$theirs" || $each - $unit 644
}

# text writes what a file is to be. The unit, -, is of the package, but for the paths of
# the program and of its pages, which are not installed.
text() { # FILE
	if test "$1" != -; then
		cat "$1"
		return
	fi
	sed -e "s|^ExecStart=/usr/sbin/|ExecStart=$PREFIX/bin/|" -e '/^Documentation=/s| file:.*||' packaging/systemd/knockd.service
}

line() { # FILE PATH
	echo "$(text "$1" | cksum) $2"
}

built() { # FILE
	test "$1" = - || test -e "$1"
}

# known are the lines of the list, with a line's end before each and behind it.
isKnown() { # FILE PATH
	case $known in *"$nl$(line "$1" "$2")$nl"*) ;; *) return 1 ;; esac
}

know() { # FILE PATH
	if built "$1" && ! isKnown "$1" "$2"; then
		known=$known$(line "$1" "$2")$nl
	fi
}

isFile() { # PATH
	test -f "$root/$1" && ! test -L "$root/$1"
}

ours() { # PATH
	isFile "$1" && isKnown "$root/$1" "$1"
}

# adopt finds the files of a version that kept no list: programs and their pages say whose
# they are; what people edit is ours when it is what we would install now.
adopt() { # FILE PATH
	isFile "$2" || return 0
	if LC_ALL=C grep -Eq 'knockkit/cmd/|^\.TH "KNOCKD?" "[18]" "" "knockd? [0-9]|^# [a-z]+ completion for knockd?: ' "$root/$2" ||
		{ built "$1" && test "$(line "$1" "$2")" = "$(line "$root/$2" "$2")"; }; then
		know "$root/$2" "$2"
	fi
}

# refuse says what is in the way of a file.
refuse() { # FILE PATH
	built "$1" || return 0
	if test -d "$root/$2"; then
		echo "$root/$2 is a folder" >&2
	elif { test -e "$root/$2" || test -L "$root/$2"; } && test "$FORCE" != 1 && ! ours "$2"; then
		echo "$root/$2 was not put there by make install, or has changed since" >&2
	else
		return 0
	fi
	refused=yes
}

folder() { # FILE PATH
	! built "$1" || install -d "$root/${2%/*}"
}

copy() { # FILE PATH MODE
	if ! built "$1"; then
		echo "$1 is missing, and left out: make build writes it" >&2
		return
	fi
	# Under another name first: what an end half way leaves under its own is whole.
	text "$1" | install -m "$3" /dev/stdin "$root/$2.knockkit-new"
	mv -f "$root/$2.knockkit-new" "$root/$2"
	echo "$root/$2"
}

left() { # FILE PATH
	if test -e "$root/$2" || test -L "$root/$2"; then
		echo "$root/$2 is left: make install has not put it there, or it has changed since" >&2
	fi
}

# A package of ours has such files too: they are the package manager's.
known=$nl
if test -e "$list"; then
	known=$nl$(cat "$list")$nl
elif ! test -e "$root/share/doc/knockkit"; then
	files adopt "$@"
fi

case $do in
install)
	for program; do
		test -x "$BIN/$program" || fail "$BIN/$program is missing: run make build first"
	done
	# The classic daemon's unit has the same name as ours.
	for dir in etc lib usr/lib "$PREFIX/lib"; do
		found=$DESTDIR/${dir#/}/systemd/system/knockd.service
		if test -f "$found" && ! grep -Eq '^ExecStart=.*/knockd run( |$)' "$found"; then
			theirs=$found
		fi
	done
	refused=
	files refuse "$@"
	test -z "$refused" || fail "nothing is installed: move these away, or choose another PREFIX; FORCE=1 overwrites files"
	if test "$theirs" && ours $unit; then
		echo "$root/$unit is left as it is, and takes the place of $theirs: remove one of them" >&2
	elif test "$theirs"; then
		echo "the unit is left out, as it would take the place of $theirs: install again when that is gone" >&2
	fi
	files folder "$@"
	files know "$@"
	install -d "${list%/*}"
	echo "$known" | grep . > "$list.new"
	mv -f "$list.new" "$list"
	files copy "$@"
	;;
uninstall)
	test "$known" != "$nl" || echo "make install has put nothing below $root" >&2
	echo "$known" | while read -r sum size path; do
		rm -f "$root/$path.knockkit-new"
		! ours "$path" || rm -f "$root/$path"
	done
	files left "$@"
	rm -f "$list"
	rmdir "${list%/*}" "$root/libexec/knockkit" 2> /dev/null || true
	test "$DESTDIR" || test -z "$linux" || echo "rules in the kernel, /etc/knockd and /var/lib/knockd are left as they were" >&2
	;;
esac
