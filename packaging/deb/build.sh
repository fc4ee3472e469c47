#!/usr/bin/env bash
# Builds standpipe_VERSION_ARCHITECTURE.deb from a release binary.
#
# usage: packaging/deb/build.sh [DIRECTORY for the package; default: target/deb]
#
# What goes in comes from the repository and from the binary itself (manual, completions). The same commit gives the same
# package: files carry the commit's time.
set -euo pipefail
cd "$(dirname "$0")/../.."
out=$(realpath -m "${1:-target/deb}")

cargo build --locked --release
binary=${CARGO_TARGET_DIR:-target}/release/standpipe
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
maintainer=$(sed -n 's/^Maintainer: //p' packaging/deb/control)
architecture=$(dpkg --print-architecture)
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
umask 022
chmod 755 "$root"

install -D -m 755 "$binary" "$root/usr/bin/standpipe"
install -D -m 644 systemd/standpipe.service "$root/lib/systemd/system/standpipe.service"
install -D -m 644 systemd/standpipe.sysusers "$root/usr/lib/sysusers.d/standpipe.conf"
install -D -m 644 config.example.toml "$root/etc/standpipe/standpipe.toml"

man=$root/usr/share/man/man1
install -d "$man"
"$binary" manual "$man"
gzip -9n "$man"/*.1
completions() { install -D -m 644 /dev/stdin "$root/$2" < <("$binary" completions "$1"); }
completions bash usr/share/bash-completion/completions/standpipe
completions zsh usr/share/zsh/vendor-completions/_standpipe
completions fish usr/share/fish/vendor_completions.d/standpipe.fish

doc=$root/usr/share/doc/standpipe
install -D -m 644 README.md "$doc/README.md"
install -D -m 644 packaging/deb/copyright "$doc/copyright"
install -D -m 644 CHANGELOG.md "$doc/CHANGELOG.md"
gzip -9n "$doc/CHANGELOG.md"
printf 'standpipe (%s) unstable; urgency=medium\n\n  * See CHANGELOG.md.\n\n -- %s  %s\n' "$version" "$maintainer" \
  "$(date --utc --rfc-email --date="@$SOURCE_DATE_EPOCH")" | gzip -9n >"$doc/changelog.gz"
for file in docs/operations.md docs/state.md packaging/logrotate.example packaging/prometheus/rules.yml \
  packaging/grafana/standpipe.json; do
  install -D -m 644 "$file" "$doc/examples/$(basename "$file")"
done
mv "$doc"/examples/*.md "$doc/"
install -D -m 644 packaging/deb/overrides "$root/usr/share/lintian/overrides/standpipe"

install -d "$root/DEBIAN"
install -m 755 packaging/deb/postinst packaging/deb/prerm packaging/deb/postrm "$root/DEBIAN/"
echo /etc/standpipe/standpipe.toml >"$root/DEBIAN/conffiles"
# The newest symbols that the binary asks of the C library.
libc=$(objdump -T "$binary" | sed -n 's/.*GLIBC_\([0-9.]*\).*/\1/p' | sort -Vu | tail -n 1)
size=$(du -sk --exclude=DEBIAN "$root" | cut -f 1)
sed -e "s/@VERSION@/$version/; s/@ARCHITECTURE@/$architecture/; s/@LIBC@/$libc/; s/@SIZE@/$size/" packaging/deb/control \
  >"$root/DEBIAN/control"
(cd "$root" && find . -type f ! -path './DEBIAN/*' -printf '%P\n' | LC_ALL=C sort | xargs md5sum >DEBIAN/md5sums)
find "$root" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +

mkdir -p "$out"
dpkg-deb --root-owner-group -Zxz --build "$root" "$out/standpipe_${version}_$architecture.deb"
