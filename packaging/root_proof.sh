#!/usr/bin/env bash
# What prove_roots.sh runs inside of each root; ends at the first thing that is not as it should be.
set -euo pipefail
export LC_ALL=C HOME=/root RUST_LOG=error
cd /proof
fail() {
  echo "FAILED: $*"
  exit 1
}

# The binary alone.
./standpipe --version >/dev/null
printf '[[source]]\npaths = ["/proof/input.log"]\nstream = "app-logs"\n' >check.toml
seq 1 2000 >input.log
./standpipe check -c check.toml >/dev/null
./standpipe run --local shipped --once input.log >/dev/null
cat shipped/local/*/*/*/*/* | cmp - input.log || fail "what it shipped is not what it read"

# The package, and an upgrade from the version before: a changed configuration stays, and so does the state.
version() { dpkg-query --show --showformat='${Version}' standpipe; }
configuration=/etc/standpipe/standpipe.toml
dpkg -i older.deb >/dev/null
older=$(version)
systemctl --version >/dev/null
getent passwd standpipe >/dev/null || fail "the package made no user"
sed -i 's|^paths = .*|paths = ["/proof/upgraded.log"]|' "$configuration"
edited=$(sha256sum "$configuration")
seq 1 1000 >upgraded.log
ship() { standpipe run -c "$configuration" --local shipped-upgrade --state-dir /var/lib/standpipe --once; }
ship >/dev/null
# As apt does it, with the answer that keeps what an administrator changed.
dpkg --force-confdef --force-confold -i newer.deb >/dev/null
dpkg --compare-versions "$(version)" gt "$older" || fail "$(version) is not newer than $older"
[ "$(sha256sum "$configuration")" = "$edited" ] || fail "the upgrade replaced a changed configuration"
[ -e "$configuration.dpkg-dist" ] || fail "the configuration of the newer package was not put beside the changed one"
standpipe shipped --state-dir /var/lib/standpipe upgraded.log >/dev/null || fail "the upgrade lost the state"
seq 1001 1500 >>upgraded.log
ship | grep -q '^500 lines' || fail "the state was not gone on with"
# What nobody changed becomes the newer package's.
dpkg --purge standpipe >/dev/null
dpkg -i older.deb >/dev/null
dpkg -i newer.deb >/dev/null
[ "$(grep -cv '^#' "$configuration")" = 3 ] || fail "an unchanged configuration was not replaced by the smallest"
standpipe check >/dev/null
# What the README names is there.
cd /usr/share/doc/standpipe
names=$(grep -o ']([^)#:]*' README.md | cut -c 3- | sort -u | grep -vE '^(\.ci/|https?$|$)')
for name in $names; do
  [ -e "$name" ] || fail "README.md names $name, which is not in the package"
done
system=$(sed -n 's/^PRETTY_NAME="\(.*\)"$/\1/p' /etc/os-release)
echo "proved on $system, glibc $(ldd --version | sed -n '1s/.* //p'): from $older to $(dpkg-query --show --showformat='${Version}' standpipe)"
