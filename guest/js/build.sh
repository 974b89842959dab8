#!/usr/bin/env bash
# Builds target/guests/hello_js.wasm and hello_js_b.wasm, which differ by their text: components of
# JavaScript, 11 MB each. Where npm or its registry cannot be had, it says so and is content.
set -euo pipefail

js=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$(dirname "$js")")
work=$root/target/guest-build-js
out=$root/target/guests
# What componentize-js 0.19.3 knows.
wasi=0.2.3

say() { echo "guests-js: $*"; }
skip() { say "$* — nothing built"; exit 0; }

up_to_date() {
    local name input
    for name in hello_js hello_js_b; do
        for input in "$js"/{build.sh,hello.js,package.json,package-lock.json,wit/world.wit}; do
            [[ $out/$name.wasm -nt $input ]] || return 1
        done
    done
}

install_tools() {
    cmp -s "$js/package-lock.json" "$work/installed" && return
    command -v npm >/dev/null || skip "no npm here"
    timeout 60 npm ping --fetch-retries=0 >/dev/null 2>&1 || skip "npm cannot reach its registry"
    say "installing jco into $work"
    cp "$js"/package{,-lock}.json "$work"
    # Not `npm ci`: it wants packages for foreign platforms in the lock, which not every registry has.
    (cd "$work" && npm install --no-save --ignore-scripts --no-audit --no-fund)
    cp "$js/package-lock.json" "$work/installed"
}

# WASI as the crate wasip2 has it, in the version that the tools know. They do not know interfaces
# that are not stable yet.
write_wit() {
    local crate
    crate=$(dirname "$(cargo metadata --manifest-path "$root/guest/Cargo.toml" --format-version 1 --locked |
        node -e 'const { packages } = JSON.parse(require("fs").readFileSync(0));
            console.log(packages.find(({ name }) => name === "wasip2").manifest_path)')")
    rm -rf "$work/wit"
    mkdir -p "$work/wit/deps"
    cp "$js/wit/world.wit" "$work/wit"
    for file in "$crate"/wit/deps/*.wit; do
        sed -e '/@unstable/ { N; /wasi:clocks\/timezone/d; }' -e "s/0\.2\.12/$wasi/g" "$file" \
            >"$work/wit/deps/$(basename "$file")"
    done
}

# Renamed into place, so that a host that watches the file never sees half of it.
build() {
    local name=$1 text=$2
    sed "s/hello from js/$text/" "$js/hello.js" >"$work/$name.js"
    (cd "$work" && node_modules/.bin/jco componentize "$name.js" --wit wit --world-name hello --out "$name.wasm")
    mkdir -p "$out"
    mv "$work/$name.wasm" "$out/$name.wasm"
}

up_to_date && { say "hello_js and hello_js_b are up to date"; exit; }
command -v node >/dev/null || skip "no node here"
mkdir -p "$work"
install_tools
write_wit
build hello_js 'hello from js'
build hello_js_b 'hello from js, version b'
say "2 components in $out"
