#!/bin/sh
# Builds the Debian and the RPM package into the folder $1: `make package` calls it,
# from the project's folder, with NFPM and VERSION in the environment.
set -eu

out=$1
ARCH=$(go env GOARCH)
export GOOS=linux
# The date of everything inside, so that the same source makes the same package.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2> /dev/null || date +%s)}
STAGE=$(mktemp -d)
trap 'rm -rf "$STAGE"' EXIT
export ARCH VERSION STAGE SOURCE_DATE_EPOCH

make --no-print-directory build BIN="$STAGE" GO_LDFLAGS="-s -w -X knockkit/internal/command.Version=$VERSION"
gzip -9n "$STAGE"/share/man/man*/*

gzip -9nc CHANGELOG.md > "$STAGE/changelog.gz"
gzip -9nc > "$STAGE/changelog.Debian.gz" << END
knockkit ($VERSION-1) unstable; urgency=medium

  * Packaged by the project itself: changelog.gz says what has changed.

 -- The knockkit maintainers <maintainers@knockkit.invalid>  $(date -R -u -d "@$SOURCE_DATE_EPOCH")
END
sh packaging/copyright.sh > "$STAGE/copyright"

mkdir -p "$out"
for format in deb rpm; do
	"$NFPM" package --config packaging/nfpm.yaml --packager "$format" --target "$out"
done
