#!/usr/bin/env bash
# The end-to-end tests marked `every_store` on the stores beside the embedded one: Debian's Redis 7.0, Sentinel and a cluster,
# side by side, since they wait more than they work. $1: the Python of the checkout.
set -uo pipefail
words=$(mktemp -d)
trap 'rm -rf "$words"' EXIT
stores="redis sentinel cluster"
for store in $stores; do
  "$1" -m pytest -q -p no:cacheprovider --store="$store" -m every_store tests/e2e > "$words/$store" 2>&1 &
  echo $! > "$words/$store.pid"
done
failed=0
for store in $stores; do
  wait "$(cat "$words/$store.pid")" || failed=1
  echo "--- end to end on $store"
  cat "$words/$store"
done
exit "$failed"
