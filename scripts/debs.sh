# Debian packages unpacked into a folder of the tree: nothing is installed or started. Sourced by the scripts that need some.

# lacking PACKAGE…: what this machine lacks of them and of what they need, as apt itself would install it.
lacking() {
  apt-get -o Debug::NoLocking=1 -s -qq --no-install-recommends install "$@" | awk '/^Inst / { print $2 }'
}

# unpack NAME FOLDER PACKAGE…: NAME is what people call it.
unpack() {
  local name=$1 root=$2 debs
  shift 2
  echo "unpacking $name under var/tools (once)"
  debs=$(mktemp -d "$root.debs.XXXXXX")
  # apt's own user for downloads may not write here: it stays who we are.
  (cd "$debs" && apt-get -o APT::Sandbox::User="$(id -un)" download -qq "$@") || {
    rm -rf "$debs"
    echo "could not download $name, which the tests need; is there a network, and has apt-get update been run once?" >&2
    return 1
  }
  for deb in "$debs"/*.deb; do dpkg -x "$deb" "$root"; done
  rm -rf "$debs"
}

# starter FILE ROOT COMMAND: a script that runs a command with the libraries unpacked beside it; lines before it come from stdin.
starter() {
  {
    echo '#!/usr/bin/env bash'
    echo "root=$2"
    echo 'export LD_LIBRARY_PATH=$root/usr/lib/x86_64-linux-gnu:$root/usr/lib/aarch64-linux-gnu:$root/lib/x86_64-linux-gnu'
    cat
    echo "exec \$root/$3 \"\$@\""
  } > "$1"
  chmod +x "$1"
}
