#!/usr/bin/env bash
# Builds standpipe_VERSION_ARCHITECTURE.deb from a release binary.
#
# usage: packaging/deb/build.sh [DIRECTORY for the package; default: target/deb] [BINARY] [SPEAKER]
#
# Without BINARY, it is built for this machine. SPEAKER prints its manual, where it is for another machine.
# The same commit gives the same package: files carry the commit's time.
set -euo pipefail
cd "$(dirname "$0")/../.."
out=$(realpath -m "${1:-target/deb}")

if [ $# -lt 2 ]; then
  cargo build --locked --release
fi
binary=${2:-${CARGO_TARGET_DIR:-target}/release/standpipe}
version=$(packaging/version.sh)
maintainer=$(sed -n 's/^Maintainer: //p' packaging/deb/control)
machine=$(LC_ALL=C readelf -hW "$binary" | sed -n 's/^ *Machine: *//p')
case $machine in
  *X86-64*) architecture=amd64 ;;
  AArch64) architecture=arm64 ;;
  *) echo "build.sh: $binary is for $machine, for which Debian's name is not known here" >&2 && exit 1 ;;
esac
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
umask 022
chmod 755 "$root"

packaging/tree.sh "$binary" "$root" lib/systemd/system usr/share/zsh/vendor-completions ../../common-licenses/Apache-2.0 \
  "${3:-$binary}"
doc=$root/usr/share/doc/standpipe
install -m 644 packaging/deb/copyright "$doc/copyright"
printf 'standpipe (%s) unstable; urgency=medium\n\n  * See CHANGELOG.md.\n\n -- %s  %s\n' "$version" "$maintainer" \
  "$(date --utc --rfc-email --date="@$SOURCE_DATE_EPOCH")" | gzip -9n >"$doc/changelog.gz"
install -D -m 644 packaging/deb/overrides "$root/usr/share/lintian/overrides/standpipe"

install -d "$root/DEBIAN"
install -m 755 packaging/deb/postinst packaging/deb/prerm packaging/deb/postrm "$root/DEBIAN/"
echo /etc/standpipe/standpipe.toml >"$root/DEBIAN/conffiles"
# The newest symbols that the binary asks of the C library, and the compiler's run-time library where it asks for that.
libc=$(readelf -VW "$binary" | sed -n 's/.*Name: GLIBC_\([0-9.]*\) .*/\1/p' | sort -Vu | tail -n 1)
libraries="libc6 (>= $libc)"
if readelf -dW "$binary" | grep -q 'NEEDED.*libgcc_s'; then libraries+=", libgcc-s1"; fi
size=$(du -sk --exclude=DEBIAN "$root" | cut -f 1)
sed -e "s/@VERSION@/$version/; s/@ARCHITECTURE@/$architecture/; s/@LIBRARIES@/$libraries/; s/@SIZE@/$size/" packaging/deb/control \
  >"$root/DEBIAN/control"
(cd "$root" && find . -type f ! -path './DEBIAN/*' -printf '%P\n' | LC_ALL=C sort | xargs md5sum >DEBIAN/md5sums)
find "$root" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +

mkdir -p "$out"
dpkg-deb --root-owner-group -Zxz --build "$root" "$out/standpipe_${version}_$architecture.deb"
