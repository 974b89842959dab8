#!/usr/bin/env bash
# Serves build/{{name}}.wasm with host as host.toml says, and asks it.
cd "$(dirname "$0")/.."
. test/common.sh

hello=$(ask "http://$addr/you")
[ "$hello" = "hello from /you" ] || fail "/you answers $hello"
time=$(ask -i "http://$addr/api/time")
[[ $time == *"content-type: application/json"*'{"unix": '*"}" ]] || fail "/api/time answers $time"
stop
