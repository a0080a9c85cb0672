#!/usr/bin/env bash
# Installs the packages of a locked file: exactly these, by their hashes. Says what to do where that cannot be.
set -euo pipefail
venv=$1 file=$2 what=$3
echo "installing $what (once; a minute or so)"
"$venv/bin/python" -m pip install --quiet --quiet --disable-pip-version-check --retries 2 --timeout 15 --require-hashes \
  --only-binary=:all: -r "$file" && exit 0
cat >&2 <<WORDS
Could not install $what; the lines above say why. The packages are fetched from pip's package index this once: is there
a network, and is a proxy or a mirror needed (PIP_INDEX_URL, https_proxy)? Then run the same command again.
WORDS
exit 1
