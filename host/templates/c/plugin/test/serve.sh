#!/usr/bin/env bash
# Serves build/{{name}}.wasm before app.wat with host as host.toml says, and asks it.
cd "$(dirname "$0")/.."
. test/common.sh

status=$(ask -o "$work/refusal" -w '%{http_code}' "http://$addr/")
[ "$status" = 400 ] || fail "a request without a tenant gets $status"

# The application answers the first part of the body before the second one is sent. (curl would wait for more
# than a part.)
exec 3<>"/dev/tcp/${addr%:*}/${addr##*:}"
until_line() {
    local line
    answer=
    while read -r -t 30 line <&3; do
        answer+=$line$'\n'
        [[ $line != "$1"* ]] || return 0
    done
    fail "there is no line $1 in: $answer"
}
printf 'POST / HTTP/1.1\r\nhost: test\r\nx-tenant: one\r\ntransfer-encoding: chunked\r\n\r\n6\r\nfirst\n\r\n' >&3
until_line first
[[ $answer == "HTTP/1.1 200 "*"x-plugin: {{name}}"*"hello from the app"* ]] || fail "it answers $answer"
printf '7\r\nsecond\n\r\n0\r\n\r\n' >&3
until_line second
exec 3>&-
stop
