#!/usr/bin/env bash
# A real systemd, in a cgroup and a mount namespace of its own: a manager of user services, which differs from that of the
# machine in nothing that is looked at here. It starts the host, which is upgraded, stopped while its old process still has a
# request, crashes, and is stopped in the middle of an upgrade. Prints what came of it. Exit code 77: it cannot be done here, and the last line says why.
#
#     unshare --mount tests/support/systemd.sh HOST GATE_GUEST DIRECTORY
set -u
program=$1 guest=$2 place=$3
groups=()

cannot() { echo "no systemd can run here: $*"; exit 77; }

leave() {
    [[ -z ${manager:-} ]] || { kill -KILL "$manager"; wait "$manager"; } 2>/dev/null
    local group try
    for group in "${groups[@]}"; do
        echo $$ >"$(dirname "$group")/cgroup.procs"
        for try in {1..100}; do
            find "$group" -name cgroup.procs -exec cat {} + | xargs --no-run-if-empty kill -KILL
            find "$group" -depth -type d -exec rmdir {} +
            [[ -d $group ]] || break
            sleep 0.05
        done 2>/dev/null
    done
}
trap leave EXIT

for root in /sys/fs/cgroup/systemd /sys/fs/cgroup/unified /sys/fs/cgroup; do
    [[ -e $root/cgroup.procs ]] || continue
    mkdir "$root/host-test-$$" 2>/dev/null && groups+=("$root/host-test-$$") || cannot "no cgroup in $root"
    echo $$ >"$root/host-test-$$/cgroup.procs" || cannot "no place in a cgroup of $root"
done
(( ${#groups[@]} )) || cannot "there are no cgroups"
[[ -x /lib/systemd/systemd ]] || cannot "it is not installed"
mount -t tmpfs tmpfs /run 2>/dev/null || cannot "no mount is allowed"
# It asks whether the machine was started by systemd.
mkdir -p /run/systemd/system
export XDG_RUNTIME_DIR=/run/user XDG_CONFIG_HOME=$place/config HOME=$place
mkdir -p -m 700 "$XDG_RUNTIME_DIR" "$XDG_CONFIG_HOME/systemd/user"
cat >"$XDG_CONFIG_HOME/systemd/user/host.service" <<END
[Service]
Type=notify
NotifyAccess=main
ExecStart=$program serve $guest --addr 127.0.0.1:0 --control $place/control --cache-dir $place/cache
StandardError=append:$place/log
KillMode=mixed
Restart=on-failure
RestartSec=100ms
END
/lib/systemd/systemd --user >"$place/systemd" 2>&1 &
manager=$!
until [[ -S $XDG_RUNTIME_DIR/systemd/private ]]; do
    kill -0 $manager 2>/dev/null || cannot "$(tail -1 "$place/systemd")"
    sleep 0.05
done
show() { systemctl --user show --value --property "$1" host.service; }
# A request to $port whose answer has begun.
hold() {
    local line
    exec 3<>"/dev/tcp/127.0.0.1/$port"
    printf 'POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n' >&3
    while read -r line <&3 && [[ $line != started* ]]; do :; done
}
# Its end, and what came of the answer.
finish() { printf '0\r\n\r\n' >&3; timeout 20 cat <&3 | tr -d '\r\n'; }
ready_port() { grep -o 'ready addr="127.0.0.1:[0-9]*' "$place/log" | tail -1 | grep -o '[0-9]*$'; }

systemctl --user start host.service || cannot "the service does not start: $(tail -1 "$place/log")"
port=$(ready_port)
hold
"$program" ctl --socket "$place/control" upgrade
systemctl --user stop host.service &
stop=$!
until [[ $(show SubState) == stop-sigterm || $(show ActiveState) != deactivating && $(show ActiveState) != active ]]; do sleep 0.05; done
echo "the answer goes on: $(finish)"
wait $stop
echo "stopped: $(show Result) $(show ExecMainStatus)"

systemctl --user start host.service
"$program" ctl --socket "$place/control" upgrade
until grep -c 'the old host has ended' "$place/log" | grep -qx 2; do sleep 0.05; done
kill -KILL "$(show MainPID)"
until [[ $(show NRestarts) == 1 && $(show ActiveState) == active ]]; do sleep 0.05; done
echo "restarted: $(show NRestarts)"
systemctl --user stop host.service

# The new process accepts, and the old one is still the service.
systemctl --user set-environment HOST_UPGRADE_STOP_AT=old-done
systemctl --user start host.service
port=$(ready_port) old=$(show MainPID)
"$program" ctl --socket "$place/control" upgrade &
until grep -q '^State:.T' "/proc/$old/status"; do sleep 0.05; done
hold
systemctl --user stop host.service &
stop=$!
until [[ $(show SubState) == stop-sigterm ]]; do sleep 0.05; done
kill -CONT "$old"
# It waits, or ends and has the other one killed.
until grep -q 'waits for the new process to end' "$place/log" || [[ ! -e /proc/$old ]]; do sleep 0.05; done
echo "stopped in the middle: $(finish)"
wait $stop
echo "then: $(show Result) $(show ExecMainStatus)"
