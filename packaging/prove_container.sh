#!/usr/bin/env bash
# Proves that the image's contents are enough: puts a release binary, the C library and root certificates, and nothing
# else, into an image, and ships a log in it with a read-only root, no capabilities, no user and 64 MiB of memory.
#
# usage: packaging/prove_container.sh BINARY
#
# The Dockerfile makes the same from a base image that needs a registry. Needs root, buildah, podman and runc. Where the
# machine cannot run containers, it says why and exits with 77.
set -euo pipefail
binary=$(realpath "$1")
skip() {
  echo "skipped: $*"
  exit 77
}
[ "$(id -u)" = 0 ] || skip "not root"
for tool in buildah podman runc; do
  command -v "$tool" >/dev/null || skip "there is no $tool"
done

work=$(mktemp -d)
# Limits stay what they are: podman would raise them, and not everywhere may it. (crun refuses hybrid control groups.)
printf '[containers]\ndefault_ulimits = []\n[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\n' >"$work/containers.conf"
export CONTAINERS_CONF=$work/containers.conf
# Storage of its own: nothing is left behind.
export STORAGE_DRIVER=vfs
storage=(--root "$work/storage" --runroot "$work/run")
clean() {
  podman "${storage[@]}" rm --all --force >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap clean EXIT

root=$work/root
install -D -m 755 "$binary" "$root/usr/bin/standpipe"
# The libraries that it asks for, and their loader, where it looks for them.
ldd "$binary" | grep -o '/[^ ]*' | while read -r library; do
  install -D -m 755 "$(realpath "$library")" "$root$library"
done
install -D -m 644 /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
install -d -m 700 -o 65532 -g 65532 "$root/var/lib/standpipe"
image=$(buildah "${storage[@]}" from scratch 2>/dev/null) || skip "buildah cannot make an image here"
buildah "${storage[@]}" copy --quiet "$image" "$root" / >/dev/null
buildah "${storage[@]}" config --user 65532:65532 --entrypoint '["/usr/bin/standpipe"]' "$image"
buildah "${storage[@]}" commit --quiet "$image" standpipe >/dev/null

install -d -m 755 "$work/logs"
seq 1 20000 >"$work/logs/app.log"
install -d -m 700 -o 65532 -g 65532 "$work/out"
chmod 711 "$work"
contained=(--rm --read-only --cap-drop all --security-opt no-new-privileges --network none --memory 64m --memory-swap 64m
  --volume "$work/logs:/logs:ro" --volume "$work/out:/out")
run() { podman "${storage[@]}" run "${contained[@]}" standpipe "$@"; }
if ! run --version >"$work/said" 2>&1; then
  # The limit asks for control groups, which not every machine gives.
  tail -n 1 "$work/said"
  skip "podman cannot run a container with a memory limit here"
fi
run run --local /out --once /logs/app.log
cat "$work"/out/local/*/*/*/*/* | cmp - "$work/logs/app.log"
# What the image's health check asks: 1 where nothing answers, 0 where a daemon is ready.
asked=0
run status >/dev/null 2>&1 || asked=$?
[ "$asked" = 1 ] || { echo "the health check is $asked where no daemon runs"; exit 1; }
podman "${storage[@]}" run "${contained[@]}" --detach --name shipper standpipe run --local /out /logs/app.log >/dev/null
for _ in $(seq 100); do
  asked=0
  podman "${storage[@]}" exec shipper /usr/bin/standpipe status >/dev/null 2>&1 || asked=$?
  [ "$asked" != 0 ] || break
  sleep 0.2
done
[ "$asked" = 0 ] || { echo "the health check is $asked beside a daemon"; podman "${storage[@]}" logs shipper; exit 1; }
echo "shipped in a container: read-only, without capabilities, in 64 MiB; $(du -shL --apparent-size "$root" | cut -f 1) of image"
