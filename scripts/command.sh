#!/usr/bin/env bash
# Puts the `touchpoint` command into the virtual environment: it runs the packages of this checkout.
set -euo pipefail
venv=$(cd "$1" && pwd)
root=$PWD
cat > "$venv/bin/touchpoint" <<SCRIPT
#!$venv/bin/python
import sys
sys.path.insert(0, "$root")
from bot.__main__ import main
main()
SCRIPT
chmod +x "$venv/bin/touchpoint"
