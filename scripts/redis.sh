#!/usr/bin/env bash
# Debian's Redis (7.0 in Debian 12) for the tests, unpacked under var/tools: never installed, since that would start a service.
# What the tests start is var/tools/redis/run (the server; also a sentinel, with --sentinel).
set -euo pipefail
. scripts/debs.sh
root=$PWD/var/tools/redis
rm -rf "$root"
mkdir -p "$root"
if command -v redis-server >/dev/null 2>&1; then
  ln -s "$(command -v redis-server)" "$root/run"
else
  [ "$(id -u)" != 0 ] || apt-get update -qq
  missing=$(lacking redis-server)
  # shellcheck disable=SC2086  # a list
  unpack Redis "$root" $missing
  starter "$root/run" "$root" usr/bin/redis-server < /dev/null
fi
"$root/run" --version
