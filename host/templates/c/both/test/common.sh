# For the tests: starts host, and stops it. It is the program in WASM_HOST, or wasm-host, or host.
set -eu
work=$(mktemp -d)
host=${WASM_HOST-$(command -v wasm-host || echo host)}
mkfifo "$work/ready"
# `timeout` hands signals and exit codes on, and ends a host that would go on for ever.
timeout 300 "$host" serve host.toml --addr 127.0.0.1:0 --control off >"$work/ready" &
pid=$!
trap 'kill "$pid" 2>/dev/null || true; rm -rf "$work"' EXIT
read -r ready <"$work/ready" || { echo "host did not get ready"; exit 1; }
addr=${ready#*addr=}
addr=${addr%% *}

fail() { echo "failed: $*"; exit 1; }

ask() { curl --silent --show-error --max-time 30 "$@"; }

stop() {
    local code=0
    kill "$pid"
    wait "$pid" || code=$?
    [ "$code" = 0 ] || fail "host exited with $code"
    echo "ok"
}
