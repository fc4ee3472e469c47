#!/usr/bin/env bash
# Makes what a release of one target has, into a directory: binary, packages, bill of materials, source, and SHA-256 sums.
#
# usage: packaging/release.sh [--target TARGET] [--out DIRECTORY] [--tools DIRECTORY] [--uncommitted]
#
# TARGET   x86_64-unknown-linux-gnu (the default) and aarch64-unknown-linux-gnu need glibc 2.17 or newer, and have packages
#          for Debian and RPM; x86_64-unknown-linux-musl needs no C library. rustup has to have the target's standard library.
# --out    where to; default: target/release-TARGET
# --tools  where release-tools.txt is installed already; else pip fetches it for this run
# --uncommitted  also with files that no commit has, to try the recipe; the source is that of the commit all the same
#
# Gives the same bytes of the same commit, wherever it lies, with the same versions of Rust and of the tools: paths are cut off,
# and times are the commit's. (Of x86_64-unknown-linux-gnu, all five files in two folders of different depth, 29 November 2026.)
set -euo pipefail
cd "$(dirname "$0")/.."
fail() {
  echo "release.sh: $*" >&2
  exit 1
}

target=x86_64-unknown-linux-gnu out='' tools='' clean=must
while [ $# -gt 0 ]; do
  case $1 in
    --target | --out | --tools) [ $# -ge 2 ] || fail "$1 lacks its value" ;;&
    --target) target=$2 ;;
    --out) out=$(realpath -m "$2") ;;
    --tools) tools=$(realpath -m "$2") ;;
    --uncommitted) clean=may && shift && continue ;;
    *) fail "there is no $1: see the head of this file" ;;
  esac
  shift 2
done
# The oldest C library that Rust's own standard library runs with.
case $target in
  x86_64-unknown-linux-gnu | aarch64-unknown-linux-gnu) built_for=$target.2.17 ;;
  x86_64-unknown-linux-musl) built_for=$target ;;
  *) fail "there is no recipe for $target: see the head of this file" ;;
esac
out=${out:-$(realpath -m "target/release-$target")}
[ -d "$(rustc --print sysroot)/lib/rustlib/$target/lib" ] || fail "Rust's standard library for $target is missing: rustup target add $target"
[ "$clean" = may ] || [ -z "$(git status --porcelain)" ] || fail "files differ from the commit: commit them first, so that the release is that of a commit"

version=$(packaging/version.sh)
commit=$(git rev-parse --short=12 HEAD)
# One commit for all parts, whatever is committed meanwhile.
export STANDPIPE_PACKAGE_VERSION=$version
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
umask 022
rm -rf "$out"
mkdir -p "$out"

if [ -z "$tools" ]; then
  tools=$work/tools
  pip3 install --quiet --disable-pip-version-check --root-user-action=ignore --no-deps --require-hashes --only-binary :all: \
    --target "$tools" --requirement packaging/release-tools.txt
fi

# Paths of this machine are in messages of panics and of the TLS library: each has another name in the binary. The last that
# fits is taken.
cargo_home=${CARGO_HOME:-$HOME/.cargo} target_dir=$(realpath -m "${CARGO_TARGET_DIR:-target}")
renamed=("$cargo_home=/cargo")
for registry in "$cargo_home"/registry/src/*/; do renamed+=("${registry%/}=/registry"); done
renamed+=("$PWD=/standpipe" "$target_dir=/target")
for pair in "${renamed[@]}"; do
  [[ $pair != *' '* ]] || fail "the C compiler cannot rename ${pair%=*}, which has a blank: build elsewhere"
done
flags=$(printf '\x1f--remap-path-prefix=%s' "${renamed[@]}")
cflags=$(printf ' -ffile-prefix-map=%s' "${renamed[@]}")
underscored=${target//-/_}
env "CARGO_ENCODED_RUSTFLAGS=${flags:1}" "CFLAGS_$underscored=${cflags:1}" STANDPIPE_COMMIT="$commit" \
  PYTHONPATH="$tools" PATH="$PATH:$tools/bin" \
  cargo zigbuild --locked --release --bin standpipe --target "$built_for"
binary=$out/standpipe-$version-$target
install -m 755 "$target_dir/$target/release/standpipe" "$binary"
packaging/check_binary.sh "$binary" "${built_for#"$target"}"

# What prints manual and completions: a binary for another machine cannot, so that one for this machine is made.
speaker=$binary
if ! "$binary" --version >/dev/null 2>&1; then
  cargo build --locked --release
  speaker=$target_dir/release/standpipe
fi
if [ "$built_for" != "$target" ]; then
  packaging/deb/build.sh "$out" "$binary" "$speaker"
  packaging/rpm/build.sh "$out" "$binary" "$speaker"
fi
packaging/sbom.py "$target" "$version" "$binary" >"$out/standpipe-$version-$target.cdx.json"
git archive --format=tar --prefix="standpipe-$version/" "$commit" | gzip -9n >"$out/standpipe-$version.tar.gz"
(cd "$out" && LC_ALL=C sha256sum -- *standpipe* >"$work/sums" && mv "$work/sums" SHA256SUMS)
cat "$out/SHA256SUMS"
