#!/usr/bin/env bash
# PostgreSQL for the tests: Debian's where the machine has it, else unpacked under var/tools (nothing is installed or started).
set -euo pipefail
. scripts/debs.sh
for bin in /usr/lib/postgresql/*/bin; do
  [ -x "$bin/postgres" ] && [ -x "$bin/initdb" ] && [ -x "$bin/pg_dump" ] && exit 0
done
root=$PWD/var/tools/postgresql
rm -rf "$root"
mkdir -p "$root"
[ "$(id -u)" != 0 ] || apt-get update -qq
# Not needed here: the compiler of queries is switched off, and the wrappers around the server's own programs are written in Perl.
missing=$(lacking postgresql |
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
unpack PostgreSQL "$root" $missing
chmod -R a+rX "$root"
