#!/usr/bin/env bash
# Builds target/guests/hello_py.wasm: a component of Python, 18 MB. Where Python or its registry cannot be
# had, it says so and is content.
set -euo pipefail

python=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$(dirname "$python")")
work=$root/target/guest-build-python
out=$root/target/guests
inputs=("$python"/{build.sh,hello_py.py,requirements.txt,wit/world.wit})

say() { echo "guests-python: $*"; }
skip() { say "$* — nothing built"; exit 0; }

up_to_date() {
    local input
    for input in "${inputs[@]}"; do
        [[ $out/hello_py.wasm -nt $input ]] || return 1
    done
}

install_tools() {
    cmp -s "$python/requirements.txt" "$work/installed" && return
    say "installing componentize-py into $work"
    rm -rf "$work/venv"
    python3 -m venv "$work/venv" || skip "python3 makes no venv here"
    "$work/venv/bin/pip" install --quiet --retries 1 --timeout 30 --requirement "$python/requirements.txt" ||
        skip "pip cannot reach its registry"
    cp "$python/requirements.txt" "$work/installed"
}

# WASI as the crate wasip2 has it.
write_wit() {
    local crate
    crate=$(dirname "$(cargo metadata --manifest-path "$root/guest/Cargo.toml" --format-version 1 --locked |
        python3 -c 'import json, sys
packages = json.load(sys.stdin)["packages"]
print(next(it["manifest_path"] for it in packages if it["name"] == "wasip2"))')")
    rm -rf "$work/wit"
    mkdir -p "$work/wit/deps"
    cp "$python/wit/world.wit" "$work/wit"
    cp "$crate"/wit/deps/*.wit "$work/wit/deps"
}

# Only what is to go into the component: componentize-py runs all of it. Renamed into place, so that a host
# that watches the file never sees half of it.
build() {
    rm -rf "$work/app"
    mkdir -p "$work/app" "$out"
    cp "$python/hello_py.py" "$work/app"
    (cd "$work" && venv/bin/componentize-py --quiet --wit-path wit --world hello \
        componentize --python-path app hello_py --output hello_py.wasm)
    mv "$work/hello_py.wasm" "$out/hello_py.wasm"
}

up_to_date && { say "hello_py is up to date"; exit; }
command -v python3 >/dev/null || skip "no python3 here"
mkdir -p "$work"
install_tools
write_wit
build
say "1 component in $out"
