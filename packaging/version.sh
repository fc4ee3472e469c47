#!/usr/bin/env bash
# Prints the version that packages of this checkout have.
#
# usage: packaging/version.sh
#
# At the tag vX.Y.Z it is X.Y.Z, which Cargo.toml has to say, too. N commits later it is X.Y.Z+N.COMMIT, which dpkg and rpm
# take for newer than X.Y.Z, and for older than the next release. Before the first tag, X.Y.Z is that of Cargo.toml and N
# counts all commits. Outside of a checkout it is that of Cargo.toml. $STANDPIPE_PACKAGE_VERSION, where it is set, is the answer:
# release.sh asks once for all that it makes.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ -n "${STANDPIPE_PACKAGE_VERSION:-}" ]; then
  echo "$STANDPIPE_PACKAGE_VERSION"
  exit
fi
declared=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
if ! git rev-parse --git-dir >/dev/null 2>&1; then
  echo "$declared"
  exit
fi
if [ "$(git rev-parse --is-shallow-repository)" = true ]; then
  echo "version.sh: this clone lacks history, and the version may be too low: git fetch --unshallow --tags" >&2
fi
tag=$(git describe --tags --abbrev=0 --match 'v[0-9]*' 2>/dev/null || true)
base=${tag:+${tag#v}}
base=${base:-$declared}
count=$(git rev-list --count "${tag:+$tag..}HEAD")
if [ -n "$tag" ] && [ "$count" = 0 ]; then
  if [ "$base" != "$declared" ]; then
    echo "version.sh: the tag $tag and version \"$declared\" in Cargo.toml differ: make them one" >&2
    exit 1
  fi
  echo "$base"
else
  echo "$base+$count.$(git rev-parse --short=12 HEAD)"
fi
