#!/usr/bin/env bash
# Lays out what every package of standpipe holds, below a directory; each format adds its own to it.
#
# usage: packaging/tree.sh BINARY ROOT UNITS ZSH LICENSE [SPEAKER]
#
# UNITS, ZSH  where the distribution keeps units and zsh's functions
# LICENSE     where the text of the licence lies
# SPEAKER     what prints manual and completions, where BINARY is for another machine
#
# What goes in comes from the repository and from the binary itself (manual, completions).
set -euo pipefail
binary=$(realpath "$1") root=$2 units=$3 zsh=$4 license=$5 speaker=$(realpath "${6:-$1}")
cd "$(dirname "$0")/.."

install -D -m 755 "$binary" "$root/usr/bin/standpipe"
install -D -m 644 systemd/standpipe.service "$root/$units/standpipe.service"
install -D -m 644 systemd/standpipe.sysusers "$root/usr/lib/sysusers.d/standpipe.conf"
install -D -m 644 packaging/standpipe.toml "$root/etc/standpipe/standpipe.toml"

man=$root/usr/share/man
install -d "$man/man1" "$man/man5"
"$speaker" manual "$man/man1"
mv "$man"/man1/*.5 "$man/man5"
gzip -9n "$man"/man*/*
completions() { install -D -m 644 /dev/stdin "$root/$2" < <("$speaker" completions "$1"); }
completions bash usr/share/bash-completion/completions/standpipe
completions zsh "$zsh/_standpipe"
completions fish usr/share/fish/vendor_completions.d/standpipe.fish

doc=$root/usr/share/doc/standpipe
# As they lie in the repository, so that what one document names is found from there.
find README.md CHANGELOG.md CONTRIBUTING.md SECURITY.md config.example.toml docs systemd packaging/{README.md,logrotate.example} \
  packaging/{ansible,cloudformation,ecs,eks,grafana,helm,kubernetes,prometheus,terraform} -type f ! -name '.*' | while read -r file; do
  install -D -m 644 "$file" "$doc/$file"
done
gzip -9n "$doc/CHANGELOG.md"
ln -s "$license" "$doc/LICENSE"
