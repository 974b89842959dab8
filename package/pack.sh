#!/bin/sh
# Packs the tarball, the same bytes for the same program and commit, and prints its name.
#
#     pack.sh PROGRAM DIRECTORY
#
# It is written to DIRECTORY. Variables: SBOM and SOURCE_DATE_EPOCH, as for stage.sh.
set -eu

if [ $# -ne 2 ]; then
    echo "usage: pack.sh PROGRAM DIRECTORY" >&2
    exit 2
fi
program=$1 out=$2
here=$(cd "$(dirname "$0")" && pwd)
SOURCE_DATE_EPOCH=$("$here/epoch.sh")
export SOURCE_DATE_EPOCH
# Of the sorting below.
export LC_ALL=C
umask 022

version=$("$program" --version | cut -d ' ' -f 2)
name=host-$version-$(uname -m)-linux
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$here/stage.sh" "$program" "$work/$name"
for file in README.md CHANGELOG.md LICENSE; do
    install -m 644 "$here/../$file" "$work/$name/$file"
done
install -m 755 "$here/install.sh" "$work/$name/install.sh"
# Links have no sum of their own: what they point to has one.
(cd "$work/$name" && find . -type f -printf '%P\n' | sort | xargs -d '\n' sha256sum) > "$work/SHA256SUMS"
install -m 644 "$work/SHA256SUMS" "$work/$name/SHA256SUMS"

mkdir -p "$out"
tar --create --sort=name --format=gnu --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner \
    --directory "$work" "$name" | gzip -n > "$work/tarball"
mv "$work/tarball" "$out/$name.tar.gz"
chmod 644 "$out/$name.tar.gz"
echo "$out/$name.tar.gz"
