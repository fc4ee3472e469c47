#!/usr/bin/env bash
# Lays out what every package of standpipe holds, below a directory; each format adds its own to it.
#
# usage: packaging/tree.sh BINARY ROOT UNITS ZSH    (UNITS, ZSH: where the distribution keeps units and zsh's functions)
#
# What goes in comes from the repository and from the binary itself (manual, completions).
set -euo pipefail
binary=$(realpath "$1") root=$2 units=$3 zsh=$4
cd "$(dirname "$0")/.."

install -D -m 755 "$binary" "$root/usr/bin/standpipe"
install -D -m 644 systemd/standpipe.service "$root/$units/standpipe.service"
install -D -m 644 systemd/standpipe.sysusers "$root/usr/lib/sysusers.d/standpipe.conf"
install -D -m 644 config.example.toml "$root/etc/standpipe/standpipe.toml"

man=$root/usr/share/man/man1
install -d "$man"
"$binary" manual "$man"
gzip -9n "$man"/*.1
completions() { install -D -m 644 /dev/stdin "$root/$2" < <("$binary" completions "$1"); }
completions bash usr/share/bash-completion/completions/standpipe
completions zsh "$zsh/_standpipe"
completions fish usr/share/fish/vendor_completions.d/standpipe.fish

doc=$root/usr/share/doc/standpipe
# As they lie in the repository, so that links from one to another lead somewhere.
find README.md CHANGELOG.md CONTRIBUTING.md SECURITY.md docs -name '*.md' | while read -r file; do
  install -D -m 644 "$file" "$doc/$file"
done
gzip -9n "$doc/CHANGELOG.md"
for file in packaging/logrotate.example packaging/prometheus/rules.yml packaging/grafana/standpipe.json \
  systemd/read-all-logs.conf; do
  install -D -m 644 "$file" "$doc/examples/$(basename "$file")"
done
