#!/bin/sh
# Installs what lies beside this file (bin/, lib/, share/), or removes what it has installed:
#
#     ./install.sh              into $PREFIX (/usr/local)
#     ./install.sh --uninstall
#
# $DESTDIR stands before each path that is written to, for packagers. What was installed stands in
# $PREFIX/share/host/installed; that and nothing else is removed. Nothing is started, and /etc is left alone.
set -eu

from=${FROM:-$(cd "$(dirname "$0")" && pwd)}
prefix=${PREFIX:-/usr/local}
case $prefix in
    /*) ;;
    *) echo "install.sh: PREFIX is no absolute path: $prefix" >&2; exit 2 ;;
esac
to=${DESTDIR:-}$prefix
list=$to/share/host/installed
umask 022

# Files first, then directories that were made for them, the deepest first. One that others use by now stays.
remove() {
    [ -e "$list" ] || { echo "install.sh: nothing is installed in $to: no $list" >&2; exit 3; }
    listed=$(cat "$list")
    echo "$listed" | sed -n 's/^file //p' | while read -r path; do rm -f "$to/$path"; done
    rm -f "$list"
    echo "$listed" | sed -n 's/^directory //p' | sort -r | while read -r path; do
        rmdir --ignore-fail-on-non-empty "$to/$path" 2>/dev/null || [ ! -d "$to/$path" ]
    done
    echo "$listed" | sed -n 's/^above //p' | sort -r | while read -r path; do
        rmdir --ignore-fail-on-non-empty "${DESTDIR:-}$path" 2>/dev/null || [ ! -d "${DESTDIR:-}$path" ]
    done
}

# Files are replaced by a rename, so that nobody runs half a program.
add() {
    before=$(cat "$list" 2>/dev/null || true)
    made=$(mktemp)
    trap 'rm -f "$made"' EXIT
    # What leads to the prefix.
    path=$prefix
    while [ ! -d "${DESTDIR:-}$path" ] && [ "$path" != / ]; do
        echo "above $path"
        path=$(dirname "$path")
    done >> "$made"
    mkdir -p "$to"
    (cd "$from" && find bin lib share -type d | sort) | while read -r path; do
        [ -d "$to/$path" ] || { mkdir "$to/$path" && echo "directory $path"; }
    done >> "$made"
    (cd "$from" && find bin lib share ! -type d | sort) | while read -r path; do
        cp -P "$from/$path" "$to/$path.new"
        mv -fT "$to/$path.new" "$to/$path"
        echo "file $path"
    done >> "$made"
    # Of the version before: directories are still ours, and files that are gone now are removed.
    echo "$before" | grep -E '^(above|directory) ' >> "$made" || true
    echo "$before" | sed -n 's/^file //p' | while read -r path; do
        grep -qxF "file $path" "$made" || rm -f "$to/$path"
    done
    sort -u "$made" > "$list.new"
    mv -f "$list.new" "$list"
}

case ${1:-} in
    '') add ;;
    --uninstall) remove ;;
    *) echo "usage: install.sh [--uninstall]" >&2; exit 2 ;;
esac
