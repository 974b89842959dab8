#!/bin/sh
# Packs Debian's package, and prints its name.
#
#     deb.sh PROGRAM DIRECTORY [ARGUMENT OF cargo-deb …]
#
# It is written to DIRECTORY. Variables: CARGO_DEB is cargo-deb, SBOM and SOURCE_DATE_EPOCH as for stage.sh; SBOM is
# needed. host/Cargo.toml says what is packed.
set -eu

if [ $# -lt 2 ]; then
    echo "usage: deb.sh PROGRAM DIRECTORY [ARGUMENT OF cargo-deb …]" >&2
    exit 2
fi
program=$1 out=$2
shift 2
here=$(cd "$(dirname "$0")" && pwd)
stage=$here/../target/package/deb
SOURCE_DATE_EPOCH=$("$here/epoch.sh")
export SOURCE_DATE_EPOCH
: "${SBOM:?names the SBOM that goes along (package/sbom.sh)}"

# bind9-host has the command `host` and its man page, so the files have the other name.
NAMES=wasm-host PREFIX=/usr "$here/stage.sh" "$program" "$stage"
doc=$stage/share/doc/wasm-host
gzip -9n < "$here/../CHANGELOG.md" > "$doc/CHANGELOG.md.gz"
# Debian wants one in its own words.
version=$("$program" --version | cut -d ' ' -f 2)
maintainer=$(sed -n 's/^maintainer = "\(.*\)"$/\1/p' "$here/../host/Cargo.toml")
gzip -9n > "$doc/changelog.gz" <<END
wasm-host ($version) unstable; urgency=medium

  * CHANGELOG.md.gz, beside this file, says what has changed.

 -- $maintainer  $(LC_ALL=C date --utc --rfc-email --date "@$SOURCE_DATE_EPOCH")
END

mkdir -p "$out"
"${CARGO_DEB:-cargo-deb}" --quiet --no-build --no-strip --no-dbgsym --locked \
    --manifest-path "$here/../host/Cargo.toml" --output "$out" "$@"
