#!/usr/bin/env bash
# Chromium and a font with Chinese for the browser tests: installed as root, else unpacked under var/tools.
set -euo pipefail
. scripts/debs.sh
command -v chromium >/dev/null 2>&1 && fc-list 2>/dev/null | grep -qi "noto.*cjk" && exit 0
wanted="chromium fonts-noto-cjk fontconfig-config"
if [ "$(id -u)" = 0 ]; then
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  # shellcheck disable=SC2086  # a list
  apt-get install -y -qq --no-install-recommends $wanted fontconfig >/dev/null
  exit 0
fi
root=$PWD/var/tools/chromium
rm -rf "$root"
mkdir -p "$root"
# shellcheck disable=SC2086
missing=$(lacking $wanted)
for package in chromium chromium-common fonts-noto-cjk; do # installed, but not of use as it is (not on the PATH, say)
  case " $(echo $missing) " in *" $package "*) ;; *) missing="$missing $package" ;; esac
done
# shellcheck disable=SC2086
unpack Chromium "$root" $missing
cat > "$root/fonts.conf" <<XML
<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <include ignore_missing="yes">/etc/fonts/fonts.conf</include>
  <include ignore_missing="yes">$root/etc/fonts/fonts.conf</include>
  <dir>$root/usr/share/fonts</dir>
  <cachedir>$root/fontcache</cachedir>
</fontconfig>
XML
starter "$root/run" "$root" usr/lib/chromium/chromium <<'SCRIPT'
export FONTCONFIG_FILE=$root/fonts.conf XDG_DATA_DIRS=$root/usr/share:/usr/share
SCRIPT
