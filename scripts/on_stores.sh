#!/usr/bin/env bash
# The end-to-end tests marked `every_store` on the stores beside the embedded one: Debian's Redis 7.0 and Sentinel side by
# side, then a cluster. $1: the Python of the checkout.
set -uo pipefail
words=$(mktemp -d)
trap 'rm -rf "$words"' EXIT
on() { "$1" -m pytest -q -p no:cacheprovider --store="$2" -m every_store tests/e2e > "$words/$2" 2>&1; }
tell() {
  echo "--- end to end on $1"
  cat "$words/$1"
}
on "$1" redis & redis=$!
on "$1" sentinel & sentinel=$!
failed=0
wait "$redis" || failed=1
wait "$sentinel" || failed=1
tell redis
tell sentinel
on "$1" cluster || failed=1
tell cluster
exit "$failed"
