#!/usr/bin/env python3
"""What arrives over a thin link: the daemon behind a proxy that shares a rate among its connections.

usage: thin.py STANDPIPE [RATE TOTAL LINE [API [DELAY [AT:RATE...]]]]

RATE bytes a second go up, of TOTAL bytes of lines of LINE bytes each; DELAY is the time of an answer in seconds; from the
second AT on the link has another RATE. Without them, the rows of docs/performance.md, one after the other (25 minutes).
"""

import asyncio
import collections
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time

# Rate, bytes, bytes of a line, api, seconds to an answer, changes of the rate.
ROWS = [
    (40e3, 8e6, 1e3, "auto", 0, []),
    (20e3, 2e6, 1e3, "auto", 0, []),
    (300e3, 20e6, 1e3, "auto", 0, []),
    (40e3, 4e6, 1e3, "auto", 0.2, []),
    (40e3, 4e6, 10e3, "auto", 0, []),
    (40e3, 2e6, 100, "auto", 0, []),
    (100e3, 13 * 900e3, 900e3, "auto", 0, []),
    (20e3, 3 * 900e3, 900e3, "auto", 0, []),
    (40e3, 2e6, 1e3, "put_record", 0, []),
    (1e6, 12e6, 1e3, "auto", 0, [(3, 40e3), (60, 1e6)]),
]
ENVIRONMENT = {"PATH": os.environ["PATH"], "AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "secret"}


class Link:
    """A proxy on this machine. What it has not passed on stays in the sender's buffer, which is small."""

    def __init__(self, target, rate, delay, changes):
        self.target, self.rate, self.delay, self.changes = target, rate, delay, sorted(changes)
        self.began, self.free_at, self.port = time.monotonic(), 0.0, None
        listening = threading.Event()
        threading.Thread(target=lambda: asyncio.run(self.serve(listening)), daemon=True).start()
        listening.wait()

    def rate_now(self):
        passed = [rate for at, rate in self.changes if time.monotonic() - self.began >= at]
        return passed[-1] if passed else self.rate

    async def serve(self, listening):
        server = await asyncio.start_server(self.connect, "127.0.0.1", 0, limit=4096)
        self.port = server.sockets[0].getsockname()[1]
        listening.set()
        await server.serve_forever()

    async def connect(self, reader, writer):
        there = await asyncio.open_connection("127.0.0.1", self.target)
        await asyncio.gather(self.carry(reader, there[1], True), self.carry(there[0], writer, False))

    async def carry(self, reader, writer, is_up):
        loop = asyncio.get_running_loop()
        try:
            while data := await reader.read(4096 if is_up else 65536):
                if is_up:
                    self.free_at = max(self.free_at, loop.time()) + len(data) / self.rate_now()
                    await asyncio.sleep(self.free_at - loop.time())
                else:
                    await asyncio.sleep(self.delay)
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()


def arrived(hose):
    """How often each line is there, by its number."""
    found = collections.Counter()
    for path in hose.glob("thin/*/*/*/*/*"):
        found.update(line[:9] for line in path.read_bytes().split(b"\n") if line)
    return found


def run(standpipe, rate, total, line, api, delay, changes):
    directory = pathlib.Path(tempfile.mkdtemp())
    hose, lines = directory / "hose", int(total // line)
    service = subprocess.Popen([standpipe, "local", "--listen", "127.0.0.1:0", "--dir", hose], text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    link = Link(int(service.stdout.readline().strip().rsplit(":", 1)[1]), rate, delay, changes)
    with open(directory / "a.log", "w") as log:
        log.writelines(f"{number:09} {'x' * (int(line) - 11)}\n" for number in range(lines))
    (directory / "standpipe.toml").write_text(
        f'state_dir = "{directory}/state"\n[aws]\nregion = "us-east-1"\nendpoint_url = "http://127.0.0.1:{link.port}"\n'
        f'[health]\nlisten = "off"\n[[source]]\npaths = ["{directory}/a.log"]\nstream = "thin"\n'
        f'[stream.thin]\napi = "{api}"\n')
    daemon = subprocess.Popen([standpipe, "run", "-c", directory / "standpipe.toml"], env=ENVIRONMENT,
                              stderr=open(directory / "said", "w"))
    began, patience = time.monotonic(), 60 + 1.6 * total * 4 / 3 / rate
    while len(found := arrived(hose)) < lines and time.monotonic() - began < patience:
        time.sleep(1)
    took = time.monotonic() - began
    time.sleep(3)
    copies = max(arrived(hose).values(), default=0)
    for process in (daemon, service):
        process.terminate()
        process.wait()
    used = "" if changes else f", {total * 4 / 3 / rate / took:.0%} of the link"
    print(f"{rate / 1e3:.0f} kB/s, {lines} lines of {line:.0f} bytes, {api}, {delay} s: {len(found)} arrived in {took:.0f} s, "
          f"up to {copies} times{used}", flush=True)


def main():
    standpipe, *given = sys.argv[1:]
    if not given:
        for row in ROWS:
            run(standpipe, *row)
        return
    rate, total, line = (float(number) for number in given[:3])
    changes = [tuple(float(number) for number in change.split(":")) for change in given[5:]]
    run(standpipe, rate, total, line, given[3] if len(given) > 3 else "auto", float(given[4]) if len(given) > 4 else 0, changes)


if __name__ == "__main__":
    main()
