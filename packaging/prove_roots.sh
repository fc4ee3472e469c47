#!/usr/bin/env bash
# Proves that a release runs, and that its Debian package installs and upgrades, on the oldest and the newest Debian that
# can be had: in a root of each, without booting it.
#
# usage: packaging/prove_roots.sh BINARY PACKAGE.deb [SUITE...; default: bullseye sid]
#
# Needs root and debootstrap. Where the machine cannot make a root, it says why and exits with 77.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
binary=$(realpath "$1") package=$(realpath "$2")
shift 2
suites=("$@")
[ $# -gt 0 ] || suites=(bullseye sid)
skip() {
  echo "skipped: $*"
  exit 77
}
[ "$(id -u)" = 0 ] || skip "not root"
for tool in debootstrap dpkg-deb unshare; do
  command -v "$tool" >/dev/null || skip "there is no $tool"
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# A package of the version before, whose configuration was another.
"$here/deb/older.sh" "$package" "$work/older.deb"

make_root() {
  debootstrap --variant=minbase --include=systemd,ca-certificates "$1" "$work/$1" >"$work/$1.log" 2>&1
}
prove() {
  local root=$work/$1
  install -D -m 755 "$binary" "$root/proof/standpipe"
  cp "$package" "$root/proof/newer.deb"
  cp "$work/older.deb" "$root/proof/"
  install -m 755 "$here/root_proof.sh" "$root/proof/"
  # With /proc, which systemd-sysusers asks for, mounted for this alone: nothing is left mounted, however it ends.
  # shellcheck disable=SC2016  # expanded by the shell that mounts
  unshare --mount sh -c 'mount -t proc proc "$1/proc" && exec chroot "$1" /proof/root_proof.sh' - "$root"
}
made=0
for suite in "${suites[@]}"; do
  if ! make_root "$suite"; then
    echo "skipped: no root of $suite: $(tail -n 1 "$work/$suite.log")"
    continue
  fi
  prove "$suite"
  rm -rf "${work:?}/$suite"
  made=$((made + 1))
done
[ "$made" -gt 0 ] || skip "no root could be made"
