#!/bin/sh
# Lays out what is installed, as it lies below a prefix: bin/, lib/, share/.
#
#     stage.sh PROGRAM DIRECTORY
#
# Variables: PREFIX is where the files will be found (/usr/local), NAMES what the program is called there; the first
# name is a file, the others are links to it. SBOM is a file that goes along. SOURCE_DATE_EPOCH is the time of all files
# and the date of the man pages; without it, that of the commit.
set -eu

if [ $# -ne 2 ]; then
    echo "usage: stage.sh PROGRAM DIRECTORY" >&2
    exit 2
fi
program=$1 stage=$2
here=$(cd "$(dirname "$0")" && pwd)
root=$here/..
prefix=${PREFIX:-/usr/local}
names=${NAMES:-host wasm-host}
first=${names%% *}
SOURCE_DATE_EPOCH=$("$here/epoch.sh")
export SOURCE_DATE_EPOCH
umask 022

rm -rf "$stage"
install -d "$stage/bin" "$stage/share/man/man1"
install -m 755 "$program" "$stage/bin/$first"
# Programs of the profile `dist` have no symbols; those of `release` do.
strip "$stage/bin/$first"

for name in $names; do
    [ "$name" = "$first" ] || ln -s "$first" "$stage/bin/$name"
    # The program says what it is called by the name that it is called by.
    ln -s "bin/$first" "$stage/$name"
    "$stage/$name" man "$stage/share/man/man1"
    completions() {
        install -d "$stage/share/$2"
        "$stage/$name" completions "$1" > "$stage/share/$2/$3"
    }
    completions bash bash-completion/completions "$name"
    completions zsh zsh/site-functions "_$name"
    completions fish fish/vendor_completions.d "$name.fish"
    rm "$stage/$name"
done

install -d "$stage/lib/systemd/system" "$stage/share/host/wit" "$stage/share/doc/$first"
for unit in "$root"/deploy/systemd/*.service "$root"/deploy/systemd/*.socket; do
    sed "s|/usr/bin/|$prefix/bin/|g" "$unit" > "$stage/lib/systemd/system/${unit##*/}"
done
cp -R "$root/wit/." "$stage/share/host/wit/"
cp "$here/host.toml" "$stage/share/doc/$first/host.toml"
cp "$root/LICENSE" "$stage/share/doc/$first/LICENSE"
[ -z "${SBOM:-}" ] || cp "$SBOM" "$stage/share/doc/$first/sbom.cdx.json"

chmod -R u=rwX,go=rX "$stage"
find "$stage" -exec touch --no-dereference --date "@$SOURCE_DATE_EPOCH" {} +
