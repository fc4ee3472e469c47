#!/usr/bin/env bash
# Whether a binary asks for no symbol of a newer C library than it should.
#
# usage: packaging/check_binary.sh BINARY [.VERSION of glibc; none: no C library at all]
set -euo pipefail
binary=$1 limit=${2#.}
fail() {
  echo "check_binary.sh: $binary $*" >&2
  exit 1
}

libraries=$(readelf -dW "$binary" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
if [ -z "$limit" ]; then
  [ -z "$libraries" ] || fail "asks for ${libraries//$'\n'/, }: it has to be linked statically"
  exit
fi
newest=$(readelf -VW "$binary" | sed -n 's/.*Name: GLIBC_\([0-9.]*\) .*/\1/p' | sort -Vu | tail -n 1)
[ -n "$newest" ] || fail "names no version of the C library"
[ "$(printf '%s\n' "$newest" "$limit" | sort -V | tail -n 1)" = "$limit" ] || fail "asks for glibc $newest, which is newer than $limit"
# Parts of glibc itself, which each system has; a compiler's run-time library is none of these.
other=$(grep -vE '^(libc|libm|libdl|libpthread|librt|ld-linux[a-z0-9_-]*)\.so\.[0-9]+$' <<<"$libraries" || true)
[ -z "$other" ] || fail "asks for ${other//$'\n'/, }, which not every system has"
echo "${binary##*/} asks for glibc $newest, and for nothing else"
