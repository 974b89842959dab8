#!/bin/sh
# Builds an image of the host and one component; see Containerfile.
#
#     build.sh APP.wasm TAG
#
# Variables: HOST is the program (target/dist/host, from `make dist`), MANIFEST what it serves (host.toml, beside this
# file), BUILDER podman (the default), buildah or docker. Further arguments go to the builder.
#
# Nothing is pulled, and the build has no network. If podman or buildah cannot run containers here, as root within a
# container for one, set NETWORK=host and add `--isolation chroot`.
set -eu

if [ $# -lt 2 ]; then
    echo "usage: build.sh APP.wasm TAG [ARGUMENT OF THE BUILDER …]" >&2
    exit 2
fi
app=$1 tag=$2
shift 2
here=$(cd "$(dirname "$0")" && pwd)
host=${HOST:-$here/../../target/dist/host}
builder=${BUILDER:-podman}

context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
root=$context/rootfs
install -d "$root/usr/bin" "$root/etc/host" "$root/srv" "$context/empty"
install -m 755 "$host" "$root/usr/bin/wasm-host"
strip "$root/usr/bin/wasm-host"
ln -s wasm-host "$root/usr/bin/host"
install -m 644 "$app" "$root/srv/app.wasm"
install -m 644 "${MANIFEST:-$here/host.toml}" "$root/etc/host/host.toml"

# The libraries, and the loader by the path that is written in the program.
ldd "$host" | grep -o '/[^ ]*' | while read -r library; do
    install -D -m 755 "$library" "$root$library"
done
# Without this file glibc asks DNS first, and /etc/hosts only where there is none.
echo 'hosts: files dns' > "$root/etc/nsswitch.conf"

case $builder in
    *podman* | *buildah*) set -- --format docker "$@" ;;
esac
"$builder" build --network "${NETWORK:-none}" --tag "$tag" "$@" --file "$here/Containerfile" "$context"
