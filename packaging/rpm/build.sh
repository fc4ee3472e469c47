#!/usr/bin/env bash
# Builds standpipe-VERSION-1.ARCHITECTURE.rpm from a release binary.
#
# usage: packaging/rpm/build.sh [DIRECTORY for the package; default: target/rpm] [BINARY] [SPEAKER]
#
# Without BINARY, it is built for this machine. SPEAKER prints its manual, where it is for another machine.
# The same commit gives the same package, where rpm is the same: files and header carry the commit's time.
set -euo pipefail
cd "$(dirname "$0")/../.."
out=$(realpath -m "${1:-target/rpm}")

if [ $# -lt 2 ]; then
  cargo build --locked --release
fi
binary=${2:-${CARGO_TARGET_DIR:-target}/release/standpipe}
version=$(packaging/version.sh)
machine=$(LC_ALL=C readelf -hW "$binary" | sed -n 's/^ *Machine: *//p')
case $machine in
  *X86-64*) architecture=x86_64 ;;
  AArch64) architecture=aarch64 ;;
  *) echo "build.sh: $binary is for $machine, for which RPM's name is not known here" >&2 && exit 1 ;;
esac
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH

top=$(mktemp -d)
trap 'rm -rf "$top"' EXIT
umask 022
packaging/tree.sh "$binary" "$top/tree" usr/lib/systemd/system usr/share/zsh/site-functions \
  ../../licenses/standpipe/LICENSE "${3:-$binary}"
install -D -m 644 LICENSE "$top/tree/usr/share/licenses/standpipe/LICENSE"
rpmbuild -bb --quiet --target "$architecture" --buildroot "$top/root" \
  --define "_topdir $top" --define "_rpmdir $out" --define "_rpmfilename %{NAME}-%{VERSION}-%{RELEASE}.%{ARCH}.rpm" \
  --define "_buildhost localhost" --define "use_source_date_epoch_as_buildtime 1" \
  --define "clamp_mtime_to_source_date_epoch 1" \
  --define "tree $top/tree" --define "program_version $version" packaging/rpm/standpipe.spec
