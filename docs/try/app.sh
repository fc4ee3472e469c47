#!/bin/sh
# The application: about twenty lines a second into a log, which is renamed every 2,000 lines.
#
# usage: app.sh DIRECTORY
set -eu
log=$1/app.log
n=0
while :; do
  n=$((n + 1))
  echo "$(date -u +%Y-%m-%dT%H:%M:%SZ) level=info msg=\"request served\" n=$n status=200" >>"$log"
  if [ $((n % 100)) = 0 ]; then
    # A stack trace, which is one record.
    printf 'java.lang.IllegalStateException: n is %d\n\tat app.Main.serve(Main.java:42)\n\tat app.Main.main(Main.java:7)\n' "$n" >>"$log"
  fi
  if [ $((n % 2000)) = 0 ]; then mv "$log" "$log.1"; fi
  sleep 0.05
done
