#!/bin/sh
# Writes what the program is made of, each crate with version, checksum and licence: CycloneDX, as JSON.
#
#     sbom.sh FILE
#
# Variables: CARGO_CYCLONEDX is cargo-cyclonedx, SOURCE_DATE_EPOCH as for stage.sh.
set -eu

if [ $# -ne 1 ]; then
    echo "usage: sbom.sh FILE" >&2
    exit 2
fi
here=$(cd "$(dirname "$0")" && pwd)
# With it there is no serial number, which would be another each time.
SOURCE_DATE_EPOCH=$("$here/epoch.sh")
export SOURCE_DATE_EPOCH
triple=$(rustc -vV | sed -n 's/^host: //p')

# It writes a file into each crate, so it is given a copy.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
(cd "$here/.." && find . -path ./target -prune -o \( -name '*.toml' -o -name '*.rs' -o -name Cargo.lock \) -print0 |
    tar --create --null --files-from -) | tar --extract --directory "$work"
(cd "$work" && "${CARGO_CYCLONEDX:-cargo-cyclonedx}" cyclonedx --quiet --manifest-path host/Cargo.toml --format json \
    --spec-version 1.5 --target "$triple" --no-build-deps --override-filename sbom)
mkdir -p "$(dirname "$1")"
# Where the copy was is nobody's business.
sed "s|$work|/host|g" "$work/host/sbom.json" > "$1"
