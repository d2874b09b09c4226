#!/bin/sh
# Has each PROGRAM of the folder $1 write its manual page and its completions, into
# $1/share as they lie below a PREFIX: share.sh FOLDER PROGRAM... `make build` calls it,
# and so do the packages, with GO_LDFLAGS in the environment.
set -eu

dir=$1
shift

host=$(go env GOHOSTOS)
runs=
test "$(go env GOOS) $(go env GOARCH)" != "$host $(go env GOHOSTARCH)" || runs=yes

# A program for another machine does not run here: one of the same source does.
says() { # PROGRAM ARGUMENT...
	program=$1
	shift
	if test "$runs"; then
		"$dir/$program" "$@"
	else
		GOOS='' GOARCH='' CGO_ENABLED=0 go run -trimpath -buildvcs=false -ldflags "${GO_LDFLAGS-}" "./cmd/$program" "$@"
	fi
}

for program; do
	section=1
	test $program != knockd || section=8
	if test $program = knockd && test "$host" != linux; then
		echo "knockd's manual page and completions are left out: it writes them on Linux" >&2
		continue
	fi
	mkdir -p "$dir/share/man/man$section" "$dir/share/bash-completion/completions" \
		"$dir/share/fish/vendor_completions.d" "$dir/share/zsh/site-functions"
	says $program __reference man > "$dir/share/man/man$section/$program.$section"
	says $program completion bash > "$dir/share/bash-completion/completions/$program"
	says $program completion fish > "$dir/share/fish/vendor_completions.d/$program.fish"
	says $program completion zsh > "$dir/share/zsh/site-functions/_$program"
done
