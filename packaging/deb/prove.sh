#!/usr/bin/env bash
# Proves the package on a real systemd: boots Debian in a container of its own, and there installs, ships a growing log,
# reloads, kills, hangs, upgrades, removes and purges (proof.sh, beside this).
#
# usage: packaging/deb/prove.sh PACKAGE.deb
#
# Needs root, debootstrap and systemd-nspawn. Where the machine cannot do it, it says why and exits with 77.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
package=$(realpath "$1")
skip() {
  echo "skipped: $*"
  exit 77
}

[ "$(id -u)" = 0 ] || skip "not root"
for tool in debootstrap systemd-nspawn dpkg-deb; do
  command -v "$tool" >/dev/null || skip "there is no $tool"
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
suite=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,ca-certificates,libgcc-s1 "$suite" "$root" \
  >"$work/debootstrap.log" 2>&1 || skip "debootstrap failed: $(tail -n 1 "$work/debootstrap.log")"

# What the proof works with: the package, the one that it upgrades, and the script.
install -d "$root/proof"
install -m 755 "$here/proof.sh" "$root/proof/"
"$here/older.sh" "$package" "$root/proof/first.deb"
cp "$package" "$root/proof/newer.deb"
cat >"$root/etc/systemd/system/proof.service" <<'UNIT'
[Unit]
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/proof/proof.sh
StandardOutput=file:/proof/said
StandardError=inherit
ExecStopPost=/bin/sh -c 'echo "$EXIT_STATUS" >/proof/status'
ExecStopPost=/bin/systemctl poweroff --no-block
UNIT
ln -s ../proof.service "$root/etc/systemd/system/multi-user.target.wants/proof.service"

timeout --signal=KILL 300 systemd-nspawn --quiet --directory="$root" --private-network --register=no --keep-unit --boot \
  </dev/null >"$work/boot.log" 2>&1 || true
if [ ! -e "$root/proof/said" ]; then
  tail -n 5 "$work/boot.log"
  skip "systemd did not boot in a container here"
fi
cat "$root/proof/said"
[ "$(cat "$root/proof/status" 2>/dev/null)" = 0 ] || { echo "the proof failed"; exit 1; }
