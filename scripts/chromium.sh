#!/usr/bin/env bash
# Chromium and a font with Chinese for the browser tests: installed as root, else unpacked under var/tools.
set -euo pipefail
command -v chromium >/dev/null 2>&1 && fc-list 2>/dev/null | grep -qi "noto.*cjk" && exit 0
wanted="chromium fonts-noto-cjk fontconfig-config"
if [ "$(id -u)" = 0 ]; then
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  # shellcheck disable=SC2086  # a list
  apt-get install -y -qq --no-install-recommends $wanted fontconfig >/dev/null
  exit 0
fi
tools=$PWD/var/tools
root=$tools/chromium
rm -rf "$root" "$tools/debs"
mkdir -p "$tools/debs" "$root"
cd "$tools/debs"
echo "unpacking Chromium under var/tools (once)"
# What this machine lacks, as apt itself would install it: libraries that are there already are used from there.
# shellcheck disable=SC2086
missing=$(apt-get -o Debug::NoLocking=1 -s -qq --no-install-recommends install $wanted | awk '/^Inst / { print $2 }')
for package in chromium fonts-noto-cjk; do # installed, but not of use as it is (not on the PATH, say)
  case " $(echo $missing) " in *" $package "*) ;; *) missing="$missing $package" ;; esac
done
# shellcheck disable=SC2086
apt-get download -qq $missing || {
  echo "could not download Chromium; is there a network, and has apt-get update been run once?" >&2
  exit 1
}
for deb in ./*.deb; do dpkg -x "$deb" "$root"; done
rm -rf "$tools/debs"
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
cat > "$root/run" <<SCRIPT
#!/usr/bin/env bash
root=$root
export LD_LIBRARY_PATH=\$root/usr/lib/x86_64-linux-gnu:\$root/usr/lib/aarch64-linux-gnu:\$root/lib/x86_64-linux-gnu
export FONTCONFIG_FILE=\$root/fonts.conf XDG_DATA_DIRS=\$root/usr/share:/usr/share
exec \$root/usr/lib/chromium/chromium "\$@"
SCRIPT
chmod +x "$root/run"
