#!/usr/bin/env bash
# Writes wit/ and wit-0.2.10/ anew: the WIT that `host new` puts into every project.
#
#   host/templates/wit.sh           write them
#   host/templates/wit.sh --check   exit with 1 if they are not what would be written
#
# WASI comes from the crates wasip2 and wasip3 that the guests are built with, the rest from ../../wit and
# ../../guest/wit. wit-0.2.10 is for tools that know no newer WASI and no 0.3.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)

crate() {
    cargo metadata --manifest-path "$root/guest/Cargo.toml" --format-version 1 --locked |
        python3 -c 'import json, os, sys
packages = json.load(sys.stdin)["packages"]
print(os.path.dirname(next(it["manifest_path"] for it in packages if it["name"] == sys.argv[1])))' "$1"
}

# A package may say its name once.
config() {
    cat "$root/guest/wit/deps/config/world.wit"
    echo
    sed 's/ *$//' "$root/guest/wit/deps/config/store.wit"
}

write() {
    local out=$1 p2 p3 name
    p2=$(crate wasip2) p3=$(crate wasip3)
    mkdir -p "$out/wit/deps" "$out/wit-0.2.10/deps"
    for name in cli clocks filesystem http io random sockets; do
        cp "$p2/wit/deps/$name.wit" "$out/wit/deps/wasi-$name-0.2.wit"
        # The one function that came after 0.2.10 was not stable there.
        sed -e 's/@since(version = 0\.2\.12)/@unstable(feature = cli-exit-with-code)/' \
            -e 's/0\.2\.12/0.2.10/g' "$p2/wit/deps/$name.wit" >"$out/wit-0.2.10/deps/wasi-$name-0.2.wit"
    done
    for name in cli clocks filesystem http random sockets; do
        cp "$p3/wit/deps/$name.wit" "$out/wit/deps/wasi-$name-0.3.wit"
    done
    cp "$root/wit/lifecycle.wit" "$out/wit/deps/host-lifecycle.wit"
    sed 's/0\.2\.12/0.2.10/g' "$root/wit/lifecycle.wit" >"$out/wit-0.2.10/deps/host-lifecycle.wit"
    for name in wit wit-0.2.10; do
        cp "$root/wit/deps/keyvalue.wit" "$out/$name/deps/wasi-keyvalue.wit"
        config >"$out/$name/deps/wasi-config.wit"
    done
}

case ${1-} in
    '')
        rm -rf "$here/wit" "$here/wit-0.2.10"
        write "$here" ;;
    --check)
        made=$(mktemp -d)
        trap 'rm -rf "$made"' EXIT
        write "$made"
        for name in wit wit-0.2.10; do
            diff -r "$made/$name" "$here/$name" || {
                echo "host/templates/$name is not what host/templates/wit.sh writes: run that" >&2
                exit 1
            }
        done ;;
    *) echo "usage: host/templates/wit.sh [--check]" >&2; exit 2 ;;
esac
