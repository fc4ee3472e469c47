#!/usr/bin/env bash
# What prove.sh runs on the booted system, step by step; ends at the first thing that is not as it should be.
set -euo pipefail
export LC_ALL=C
step() { echo "-- $*"; }
fail() {
  echo "FAILED: $*"
  systemctl status --no-pager standpipe.service || true
  journalctl --no-pager --output=cat -u standpipe.service | tail -n 40
  exit 1
}
trap 'fail "line $LINENO"' ERR

# Waits until a command succeeds; a generous bound, reached only when something is broken.
await() {
  local what=$1
  shift
  for _ in $(seq 600); do
    if "$@" >/dev/null 2>&1; then return; fi
    sleep 0.1
  done
  fail "never came: $what"
}
property() { systemctl show --value --property="$1" standpipe.service; }
main_pid() { property MainPID; }
is_another() { [ "$(main_pid)" != "$1" ] && [ "$(main_pid)" != 0 ] && systemctl is-active --quiet standpipe.service; }
said() { journalctl --output=cat -u standpipe.service | grep -q "$@"; }

step "install"
dpkg -i /proof/first.deb >/dev/null 2>&1
! systemctl is-active --quiet standpipe.service || fail "a first installation started something"
getent passwd standpipe >/dev/null

step "a configuration with mistakes: refused at once, told in the journal, and not tried again"
printf '[[source]]\npath = ["/var/log/app/*.log"]\nstream = "app-logs"\n' >/etc/standpipe/standpipe.toml
! systemctl start standpipe.service 2>/dev/null || fail "it started"
await "the mistake in the journal" said "did you mean"
sleep 5
[ "$(property NRestarts)" = 0 ] || fail "a wrong configuration was tried again"
[ "$(property ActiveState)" = failed ] || fail "it is $(property ActiveState)"

step "start"
install -d -m 750 -g adm /var/log/app
systemd-run --quiet --unit=firehose /usr/bin/standpipe local --dir /srv/firehose
cat >/etc/standpipe/standpipe.toml <<'TOML'
[[source]]
paths  = ["/var/log/app/*.log"]
stream = "app-logs"
TOML
install -m 600 /dev/stdin /etc/standpipe/environment <<'ENVIRONMENT'
AWS_REGION=eu-central-1
AWS_ACCESS_KEY_ID=any
AWS_SECRET_ACCESS_KEY=any
AWS_ENDPOINT_URL_FIREHOSE=http://127.0.0.1:4573
ENVIRONMENT
# So that a hang is found in seconds; the unit's own figure is a minute.
install -d /etc/systemd/system/standpipe.service.d
printf '[Service]\nWatchdogSec=3s\n' >/etc/systemd/system/standpipe.service.d/proof.conf
systemctl daemon-reload
systemctl enable standpipe.service 2>/dev/null
systemctl start standpipe.service
[ "$(stat -c %U "/proc/$(main_pid)")" = standpipe ] || fail "it does not run as its own user"
grep -q '^CapEff:\s*0*$' "/proc/$(main_pid)/status" || fail "it has capabilities"
grep -q '^Max core file size *0 ' "/proc/$(main_pid)/limits" || fail "it may dump core"
[ "$(stat -c '%U %a' /var/lib/standpipe)" = "standpipe 700" ]

step "a growing log"
# Lines that know their number, until told to stop.
# shellcheck disable=SC2016  # expanded by the shell that writes
systemd-run --quiet --unit=writer --property=SupplementaryGroups=adm --property=UMask=0027 /bin/bash -c '
  install -m 640 -g adm /dev/null /var/log/app/app.log
  n=0
  until [ -e /run/enough ]; do
    seq -f "line %09.0f" $n $((n + 99)) >>/var/log/app/app.log
    n=$((n + 100))
    sleep 0.05
  done'
delivers() { cat /srv/firehose/app-logs/*/*/*/*/* 2>/dev/null | wc -l; }
delivers_more_than() { [ "$(delivers)" -gt "$1" ]; }
await "lines" delivers_more_than 500
tells_of_lines() { property StatusText | grep -v "not ready" | grep .; }
await "a status text" tells_of_lines
echo "   status: $(property StatusText)"
# Its port is one that the unit lets it listen on.
await "the health endpoint" standpipe status

step "reload"
install -m 640 -g adm /dev/stdin /var/log/app/other.txt <<<"other"
printf '[[source]]\npaths  = ["/var/log/app/*.txt"]\nstream = "others"\n' >>/etc/standpipe/standpipe.toml
before=$(main_pid)
systemctl reload standpipe.service
other_is_there() { cat /srv/firehose/others/*/*/*/*/*; }
await "a line of the source that came with the reload" other_is_there
[ "$(main_pid)" = "$before" ] || fail "a reload made another process"

step "kill -9"
before=$(main_pid)
kill -9 "$before"
await "another process" is_another "$before"
await "more lines" delivers_more_than $(($(delivers) + 500))

step "a hang, ended by the watchdog"
before=$(main_pid)
kill -STOP "$before"
await "the watchdog" said -i "watchdog timeout"
await "another process" is_another "$before"
await "more lines" delivers_more_than $(($(delivers) + 500))

step "upgrade"
before=$(main_pid)
# With the answer that keeps what an administrator changed; the newer package's configuration is another.
version() { dpkg-query --show --showformat='${Version}' standpipe; }
older=$(version)
dpkg --force-confdef --force-confold -i /proof/newer.deb >/dev/null 2>&1
await "another process" is_another "$before"
dpkg --compare-versions "$(version)" gt "$older" || fail "$(version) is not newer than $older"
grep -q '\.txt' /etc/standpipe/standpipe.toml || fail "the configuration was replaced"
[ -e /etc/standpipe/standpipe.toml.dpkg-dist ] || fail "the newer configuration was not put beside the changed one"
await "more lines" delivers_more_than $(($(delivers) + 500))

step "every line"
touch /run/enough
gone() { ! systemctl is-active --quiet writer.service; }
await "the writer's end" gone
standpipe shipped --wait 60s /var/log/app/app.log /var/log/app/other.txt >/dev/null
# An orderly stop, whose exit code systemd sees.
systemctl stop standpipe.service
[ "$(property Result)" = success ] || fail "stopping: $(property Result)"
every_line() { cmp <(sort -u <(cat /srv/firehose/app-logs/*/*/*/*/*)) /var/log/app/app.log; }
await "every line" every_line
written=$(wc -l </var/log/app/app.log)
echo "   $written lines written, each arrived; $(($(delivers) - written)) arrived twice, after two kills"

step "remove, and purge"
systemctl start standpipe.service
dpkg -r standpipe >/dev/null 2>&1
! systemctl is-active --quiet standpipe.service || fail "removed, it runs on"
ls /var/lib/standpipe/* /etc/standpipe/standpipe.toml >/dev/null || fail "removing dropped state or configuration"
dpkg -P standpipe >/dev/null 2>&1
# What the administrator put there stays: the environment.
[ "$(ls -d /var/lib/standpipe /etc/standpipe/* 2>/dev/null)" = /etc/standpipe/environment ] || fail "purging kept, or dropped, too much"
echo "proved on systemd $(systemctl --version | sed -n '1s/systemd \([0-9]*\).*/\1/p')"
