#!/bin/sh
# Writes the file "copyright" of the packages: what is so of the project itself, and
# the license of every module that is linked into the programs, as those ask for.
set -eu

cat << 'END'
knockkit states no license: there is no such file in its source. Copyright by those
who wrote it; nothing here gives a permission that the law does not give.

The programs contain the Go standard library and the modules below, each under the
license that follows its name.
END

license() { # NAME FOLDER
	printf '\n----------------------------------------\n%s\n' "$1"
	found=
	for file in "$2"/LICENSE* "$2"/COPYING* "$2"/NOTICE*; do
		test -f "$file" || continue
		found=yes
		printf '\n'
		cat "$file"
	done
	test -n "$found" || { echo "$1 has no license file in $2" >&2; exit 1; }
}

license "The Go standard library, $(go env GOVERSION)" "$(go env GOROOT)"
GOOS=linux go list -deps -f '{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}} {{.Dir}}{{end}}{{end}}' ./cmd/knockd ./cmd/knockd-fleet ./cmd/knock |
	sort -u | while read -r path version dir; do license "$path $version" "$dir"; done
