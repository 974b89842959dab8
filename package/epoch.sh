#!/bin/sh
# Prints the moment that packages are dated by: $SOURCE_DATE_EPOCH, or that of the commit.
set -eu
if [ -n "${SOURCE_DATE_EPOCH:-}" ]; then
    echo "$SOURCE_DATE_EPOCH"
elif ! git -C "$(dirname "$0")" log -1 --format=%ct 2>/dev/null; then
    echo "epoch.sh: no commit here to date the package by: set SOURCE_DATE_EPOCH" >&2
    exit 1
fi
