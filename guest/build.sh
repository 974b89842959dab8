#!/usr/bin/env bash
# Builds every guest into target/guests/NAME_p2.wasm and NAME_p3.wasm, as components.
#
#   guest/build.sh          build what is out of date
#   guest/build.sh --list   print the components' names, one a line
#
# GUEST_TOOLCHAIN=rustup|debian|auto (default auto: rustup if it has or gets the wasm target).
# `debian` is for machines that can reach Debian's packages but not Rust's: it builds std from
# Debian's source, and needs of the Rust toolchain only its linker.
set -euo pipefail

guest=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
target=$(dirname "$guest")/target
out=$target/guests

say() { echo "guests: $*"; }
fail() { say "$@" >&2; exit 1; }

names() {
    grep -l cdylib "$guest"/{p2,p3,examples}/*/Cargo.toml | xargs sed -n 's/^name = "\(.*\)"/\1/p' | sort
}

rust_sysroot() { rustc --print sysroot; }

rustup_works() {
    [[ -d $(rust_sysroot)/lib/rustlib/wasm32-wasip2 ]] && return
    say "target wasm32-wasip2 is missing, asking rustup for it"
    command -v rustup >/dev/null && timeout 120 rustup target add wasm32-wasip2
}

build_with_rustup() {
    triple=wasm32-wasip2 built=$target/guest-build-rustup
    cargo build --manifest-path "$guest/Cargo.toml" --target-dir "$built" --target $triple \
        --release --locked
}

install_debian_packages() {
    local packages=(rustc-web cargo-web rust-web-src) missing=() package
    for package in "${packages[@]}"; do
        dpkg -s "$package" >/dev/null 2>&1 || missing+=("$package")
    done
    (( ${#missing[@]} )) || return 0
    (( EUID == 0 )) || fail "run: sudo apt-get update && sudo apt-get install -y ${missing[*]}"
    say "installing ${missing[*]}"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
}

build_with_debian() {
    triple=wasm32-unknown-unknown built=$target/guest-build-debian
    local host tools
    install_debian_packages
    host=$(rustc -vV | sed -n 's/^host: //p')
    tools=$(rust_sysroot)/lib/rustlib/$host/bin
    [[ -x $tools/wasm-component-ld ]] || fail "no wasm-component-ld in $tools"
    # Without WASI in the target's name, what wants random numbers asks the guest itself (examples/validate).
    # This linker puts out a component where the target's own would put out a core module.
    local flags=("-Clinker=$tools/wasm-component-ld" "-Clink-arg=--wasm-ld-path=$tools/gcc-ld/wasm-ld"
        '--cfg=getrandom_backend="custom"')
    # -Z build-std is for nightly compilers; RUSTC_BOOTSTRAP opens it in this one.
    CARGO_ENCODED_RUSTFLAGS=$(IFS=$'\x1f'; echo "${flags[*]}") RUSTC_BOOTSTRAP=1 RUSTC=/usr/bin/rustc \
        /usr/bin/cargo build --manifest-path "$guest/Cargo.toml" --target-dir "$built" \
        --target $triple --release --locked -Z build-std=std,panic_abort
}

# Renamed into place, so that a host that watches the file never sees half of it, and only where
# it differs, so that nothing is rebuilt or reloaded for an old file's new date.
publish() {
    local name from to changed=0 total=0
    mkdir -p "$out"
    for name in $(names); do
        from=$built/$triple/release/$name.wasm to=$out/$name.wasm
        is_component "$from" || fail "$from is not a component"
        total=$((total + 1))
        cmp -s "$from" "$to" && continue
        cp "$from" "$to.new"
        mv "$to.new" "$to"
        changed=$((changed + 1))
    done
    say "$total components in $out, $changed of them new"
}

# A core module has layer 0 where a component has layer 1.
is_component() { [[ $(head -c 8 "$1" | od -An -tx1 | tr -d ' ') == 0061736d0d000100 ]]; }

case ${1-} in
    --list) names; exit ;;
    '') ;;
    *) fail "usage: guest/build.sh [--list]" ;;
esac

case ${GUEST_TOOLCHAIN:-auto} in
    rustup)
        rustup_works || fail "no wasm32-wasip2 here; GUEST_TOOLCHAIN=debian may work"
        toolchain=rustup why="as asked" ;;
    debian)
        toolchain=debian why="as asked" ;;
    auto)
        if rustup_works; then
            toolchain=rustup why="it has the target wasm32-wasip2"
        else
            toolchain=debian why="rustup cannot give the target wasm32-wasip2"
        fi ;;
    *) fail "GUEST_TOOLCHAIN is rustup, debian or auto" ;;
esac
say "building with $toolchain: $why"
"build_with_$toolchain"
publish
