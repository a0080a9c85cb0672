#!/usr/bin/env bash
# PostgreSQL for the tests: Debian's where the machine has it, else unpacked under var/tools (nothing is installed or started).
set -euo pipefail
for bin in /usr/lib/postgresql/*/bin; do
  [ -x "$bin/postgres" ] && [ -x "$bin/initdb" ] && [ -x "$bin/pg_dump" ] && exit 0
done
tools=$PWD/var/tools
root=$tools/postgresql
rm -rf "$root" "$tools/debs-postgresql"
mkdir -p "$root" "$tools/debs-postgresql"
cd "$tools/debs-postgresql"
echo "unpacking PostgreSQL under var/tools (once)"
[ "$(id -u)" != 0 ] || apt-get update -qq
# What this machine lacks, as apt itself would install it, but for what is not needed here: the compiler of queries is
# switched off, and the wrappers around the server's own programs are written in Perl.
missing=$(apt-get -o Debug::NoLocking=1 -s -qq --no-install-recommends install postgresql | awk '/^Inst / { print $2 }' |
  grep -Ev '^(libllvm|perl|libperl|libjson-perl|netbase|adduser|ssl-cert|sysvinit|postgresql$|postgresql-(client-)?common)' || true)
case $missing in
  *postgresql-[0-9]*) ;;
  *) missing="$missing $(apt-cache depends postgresql | awk '/Depends: postgresql-[0-9]+$/ { print $2; exit }')" ;;
esac
case $missing in
  *postgresql-client-[0-9]*) ;;
  *) missing="$missing $(echo "$missing" | tr ' ' '\n' | sed -n 's/^postgresql-\([0-9][0-9]*\)$/postgresql-client-\1/p')" ;;
esac
# shellcheck disable=SC2086  # a list
apt-get download -qq $missing || {
  echo "could not download PostgreSQL; is there a network, and has apt-get update been run once?" >&2
  exit 1
}
for deb in ./*.deb; do dpkg -x "$deb" "$root"; done
rm -rf "$tools/debs-postgresql"
chmod -R a+rX "$root"
