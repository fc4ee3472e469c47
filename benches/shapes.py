#!/usr/bin/env python3
"""What each shape of lines costs: CPU seconds of the daemon for a million lines, and against raw ones.

usage: shapes.py STANDPIPE [LINES [ROUNDS]]

Each shape is shipped by `run --once` in `api = "auto"` to `standpipe local` without quotas, over plain HTTP; the shapes take
turns, ROUNDS times (5), LINES (500,000) of 185 bytes each. Printed are user and system time of the daemon, the median of the
rounds, and the median of what each is against the raw lines of its own round; and how many bytes of data arrive for a line,
before base64. Raw lines as long as an envelope show what the bytes alone cost.
"""

import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

ENVIRONMENT = {"PATH": os.environ["PATH"], "AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "secret"}
TIME = "2026-11-29T10:00:00.123456789Z"


def text(number):
    return f"{number:010} " + "some words of a program that say what it did, and with what " * 3


def line(number):
    return text(number)[:184]


SHAPES = {
    "raw": ("", line),
    "raw, 367 bytes": ("", lambda n: (text(n) * 2)[:366]),
    "packing": ('packing = "on"', line),
    "json": ('format = "json"', line),
    "json, merged": ('format = "json"\nmerge_json = true', lambda n: json.dumps({"n": n, "words": line(n)[:160]})),
    "cri": ('parse = "cri"', lambda n: f"{TIME} stdout F {line(n)}"),
    "cri, packing": ('parse = "cri"\npacking = "on"', lambda n: f"{TIME} stdout F {line(n)}"),
    "docker": ('parse = "docker"', lambda n: json.dumps({"log": line(n) + "\n", "stream": "stdout", "time": TIME})),
    "multiline": ('multiline = "java"', lambda n: line(n) if n % 5 == 0 else f"\tat com.example.Service.call(Service.java:{n}) {text(n)}"[:184]),
}


def main():
    program = pathlib.Path(sys.argv[1]).resolve()
    lines, rounds = int((sys.argv[2:3] or [500_000])[0]), int((sys.argv[3:4] or [5])[0])
    with tempfile.TemporaryDirectory() as directory:
        root = pathlib.Path(directory)
        for name, (_, shape) in SHAPES.items():
            with open(root / f"{name}.log", "w", encoding="utf-8") as log:
                log.writelines(f"{shape(number)}\n" for number in range(lines))
        used, sent = {name: [] for name in SHAPES}, {}
        for number in range(rounds):
            for name, (settings, _) in SHAPES.items():
                seconds, sent[name] = ship(program, root, name, settings, f"{number}")
                used[name].append(seconds)
        for name, seconds in used.items():
            of_raw = statistics.median(mine / raw for mine, raw in zip(seconds, used["raw"]))
            print(f"{name:14} {statistics.median(seconds) * 1e6 / lines:5.2f} s a million lines, {of_raw:4.2f} of raw, "
                  f"{sent[name] / lines:5.1f} bytes a line")


def ship(program, root, name, settings, number, before=()):
    place = root / f"{name}-{number}"
    place.mkdir()
    service = subprocess.Popen(
        [program, "local", "--listen", "127.0.0.1:0", "--dir", place / "out", "--quota-requests", "0", "--quota-records", "0",
         "--quota-bytes", "0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    endpoint = service.stdout.readline().strip()
    of_source = "\n".join(each for each in settings.split("\n") if not each.startswith("packing"))
    of_stream = "\n".join(each for each in settings.split("\n") if each.startswith("packing"))
    (place / "c.toml").write_text(
        f'state_dir = "{place}/state"\n[aws]\nregion = "us-east-1"\nendpoint_url = "{endpoint}"\n'
        f'[stream.s]\napi = "auto"\nquota = {{ requests_per_second = 1000000, records_per_second = 1000000000, '
        f'bytes_per_second = "100GB", adaptive = false }}\n{of_stream}\n'
        f'[[source]]\npaths = ["{root}/{name}.log"]\nstream = "s"\n{of_source}\n', encoding="utf-8")
    daemon = subprocess.Popen([*before, program, "run", "--once", "-c", place / "c.toml"], env=ENVIRONMENT,
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    said = daemon.stderr.read().decode()
    _, status, usage = os.wait4(daemon.pid, 0)
    assert status == 0, said
    service.terminate()
    service.wait()
    arrived = sum(path.stat().st_size for path in (place / "out" / "s").rglob("*") if path.is_file())
    subprocess.run(["rm", "-rf", place], check=True)
    return usage.ru_utime + usage.ru_stime, arrived


if __name__ == "__main__":
    main()
