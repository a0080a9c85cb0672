#!/usr/bin/env bash
# Chromium and a font with Chinese for the browser tests: installed as root, else unpacked under var/tools.
set -euo pipefail
command -v chromium >/dev/null 2>&1 && fc-list 2>/dev/null | grep -qi "noto.*cjk" && exit 0
if [ "$(id -u)" = 0 ]; then
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends chromium fonts-noto-cjk fontconfig >/dev/null
  exit 0
fi
tools=$PWD/var/tools
mkdir -p "$tools/debs" "$tools/chromium"
cd "$tools/debs"
packages=$(apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances \
  chromium fonts-noto-cjk fontconfig-config | grep '^\w' | sort -u)
for package in $packages; do apt-get download "$package" >/dev/null 2>&1 || true; done
for deb in ./*.deb; do dpkg -x "$deb" "$tools/chromium"; done
cat > "$tools/chromium/run" <<SCRIPT
#!/usr/bin/env bash
root=$tools/chromium
export LD_LIBRARY_PATH=\$root/usr/lib/x86_64-linux-gnu:\$root/usr/lib/aarch64-linux-gnu:\$root/lib/x86_64-linux-gnu
export FONTCONFIG_PATH=\$root/etc/fonts XDG_DATA_DIRS=\$root/usr/share
exec \$root/usr/lib/chromium/chromium "\$@"
SCRIPT
chmod +x "$tools/chromium/run"
