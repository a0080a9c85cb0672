#!/usr/bin/env bash
# Makes a virtual environment. Debian splits ensurepip out: where it is missing, its packages are unpacked under
# var/tools, without installing anything on the machine.
set -euo pipefail
venv=$1
python=${PYTHON:-python3}
command -v "$python" >/dev/null 2>&1 || { echo "there is no $python here; install Python 3.11 or newer (apt install python3)" >&2; exit 1; }
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
  echo "$("$python" --version) is too old: Python 3.11 or newer is needed; name it: make run PYTHON=python3.12" >&2
  exit 1
}
if "$python" -m venv "$venv" >/dev/null 2>&1 && "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
  exit 0
fi
echo "this Python has no ensurepip; unpacking Debian's under var/tools"
rm -rf "$venv"
tools=$PWD/var/tools
mkdir -p "$tools/debs"
(cd "$tools/debs" && { apt-get download python3-pip-whl python3-setuptools-whl >/dev/null 2>&1 || apt-get download python3-pip-whl >/dev/null; }) || {
  echo "could not fetch Debian's pip: is there a network? Or, as root: apt install python3-venv" >&2
  exit 1
}
for deb in "$tools"/debs/python3-*-whl*.deb; do dpkg -x "$deb" "$tools"; done
wheel=$(ls "$tools"/usr/share/python-wheels/pip-*.whl | head -1)
"$python" -m venv --without-pip "$venv"
"$venv/bin/python" "$wheel/pip" install --quiet --no-index --find-links "$tools/usr/share/python-wheels" pip 2>/dev/null ||
  "$venv/bin/python" "$wheel/pip" install --quiet pip
