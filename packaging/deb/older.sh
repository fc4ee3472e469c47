#!/usr/bin/env bash
# Makes of a package the one that it upgrades: of the version 0.1.0, whose configuration is the full example.
#
# usage: packaging/deb/older.sh PACKAGE.deb OLDER.deb
set -euo pipefail
here=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
dpkg-deb -R "$1" "$work/older"
sed -i 's/^Version: .*/Version: 0.1.0/' "$work/older/DEBIAN/control"
install -m 644 "$here/config.example.toml" "$work/older/etc/standpipe/standpipe.toml"
dpkg-deb --root-owner-group -Zgzip --build "$work/older" "$2" >/dev/null
