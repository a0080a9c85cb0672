#!/usr/bin/env bash
# Debian's Redis (7.0 in Debian 12) for the tests, unpacked under var/tools: never installed, since that would start a service.
# What the tests start is var/tools/redis/run (the server; also a sentinel, with --sentinel).
set -euo pipefail
tools=$PWD/var/tools
root=$tools/redis
rm -rf "$root" "$tools/redis-debs"
mkdir -p "$tools/redis-debs" "$root"
if command -v redis-server >/dev/null 2>&1; then
  ln -s "$(command -v redis-server)" "$root/run"
else
  [ "$(id -u)" != 0 ] || apt-get update -qq
  echo "unpacking Redis under var/tools (once)"
  # What this machine lacks, as apt itself would install it: libraries that are there already are used from there.
  missing=$(apt-get -o Debug::NoLocking=1 -s -qq --no-install-recommends install redis-server | awk '/^Inst / { print $2 }')
  # shellcheck disable=SC2086  # a list
  (cd "$tools/redis-debs" && apt-get -o APT::Sandbox::User="$(id -un)" download -qq $missing) || {
    echo "could not download Redis, which the tests need; is there a network, and has apt-get update been run once?" >&2
    exit 1
  }
  for deb in "$tools"/redis-debs/*.deb; do dpkg -x "$deb" "$root"; done
  cat > "$root/run" <<SCRIPT
#!/usr/bin/env bash
root=$root
export LD_LIBRARY_PATH=\$root/usr/lib/x86_64-linux-gnu:\$root/usr/lib/aarch64-linux-gnu:\$root/lib/x86_64-linux-gnu
exec \$root/usr/bin/redis-server "\$@"
SCRIPT
  chmod +x "$root/run"
fi
rm -rf "$tools/redis-debs"
"$root/run" --version
